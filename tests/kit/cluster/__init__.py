"""An installation of several processes on a real Kafka and a real Redis, behind one small front."""

from tests.kit.cluster.cluster import COMPONENTS, Cluster, Replica

__all__ = ["COMPONENTS", "Cluster", "Replica"]
