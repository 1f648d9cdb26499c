"""The lab: machines for tests that drive real processes.

Node      a machine made of namespaces, running Duplex
KernelNode  a User Mode Linux machine running the kernel's DRBD 8.4
Both offer the interface of machine.Machine. A Switch joins them; a Pair is two of them with one drbd.conf.
"""

import sys

if sys.version_info < (3, 11):
    raise ImportError("the lab needs Debian's python3 (3.11): run it with /usr/bin/python3")
