"""What the backends for Elasticsearch and OpenSearch share. Begin to read at `backend.py`."""
