"""Brokers between hosts: the agent of each host forwards into a channel, agents elsewhere move on from it.

`base` is the contract, `wire` what travels, `source` the receiving end that all of them share; a module a broker.
"""
