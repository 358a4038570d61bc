"""For developers of the node: benchmark, node harness, bag player. No part of the running node."""
