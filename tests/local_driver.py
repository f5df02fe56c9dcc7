"""A driver whose trials run in its own process, without a cluster: ``local_driver.py ID …``."""

import sys

from service.cluster import connection
from service.server.driver import main

if __name__ == "__main__":
    own = connection.Cluster
    connection.Cluster = lambda _: own(None)  # type: ignore[assignment, misc, arg-type, return-value]  # for this process
    sys.exit(main(sys.argv[1:]))
