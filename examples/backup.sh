#!/bin/sh
# Records how a backup went: how long it took, how large it is, and whether it failed.
#
#     sh examples/backup.sh FOLDER [ARCHIVE]
set -u
folder=${1:?say which folder}
archive=${2:-$(mktemp)}
began=$(date +%s)
if tar -czf "$archive" "$folder" 2>/dev/null; then
    tallystick send timing backup.time $(($(date +%s) - began)) --tag folder="$folder"
    tallystick send gauge backup.size "$(wc -c <"$archive")" --unit B --tag folder="$folder"
else
    tallystick send event backup.failed "tar could not read all of $folder" --tag folder="$folder"
    exit 1
fi
