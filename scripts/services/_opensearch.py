"""OpenSearch from Maven Central."""

from __future__ import annotations

from typing import ClassVar

from _search import Module, Recipe, SearchServer

CONNECTS = ('java.net.SocketPermission "*", "connect"', 'java.net.NetPermission "getProxySelector"')
LOADS_CLASSES = ('java.lang.RuntimePermission "createClassLoader"', 'java.lang.RuntimePermission "getClassLoader"')


class OpenSearch(SearchServer):
    kind = "opensearch"
    group = "org.opensearch"
    prefix = "OPENSEARCH"
    recipes: ClassVar[dict[str, Recipe]] = {
        "2.19.6": Recipe(
            java=(17, 21),  # it needs the security manager, which Java 24 has no more
            modules={
                "reindex": Module("reindex-client", "org.opensearch.index.reindex.ReindexPlugin", permissions=CONNECTS),
                "lang-painless": Module(
                    "lang-painless", "org.opensearch.painless.PainlessPlugin", permissions=LOADS_CLASSES
                ),
                "analysis-common": Module(
                    "analysis-common", "org.opensearch.analysis.common.CommonAnalysisPlugin", extends="lang-painless"
                ),
                "ingest-common": Module(
                    "ingest-common", "org.opensearch.ingest.common.IngestCommonPlugin", extends="lang-painless"
                ),
                "mapper-extras": Module("mapper-extras-client", "org.opensearch.index.mapper.MapperExtrasPlugin"),
            },
        ),
        "3.8.0": Recipe(java=(21, 99)),  # its zip has all modules
    }
