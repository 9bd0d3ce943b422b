"""Two of Ray's nodes of one CPU each, on 127.0.0.1 alone: prints where, and which processes, until its input ends."""

import json
import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    quiet = {"num_cpus": 1, "object_store_memory": 200_000_000, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args={**quiet, "include_dashboard": False})
    second = cluster.add_node(**quiet)
    (raylet,) = second.all_processes["raylet"]
    print(json.dumps({"address": cluster.address, "raylet": raylet.process.pid}), flush=True)
    sys.stdin.read()
    cluster.shutdown()
