"""An installation of several processes on a real Kafka and a real Redis, behind one proxy."""

from tests.kit.cluster.cluster import COMPONENTS, Cluster, Replica

__all__ = ["COMPONENTS", "Cluster", "Replica"]
