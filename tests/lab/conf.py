"""drbd.conf texts."""


def howto(left, right, extra_net=""):
    """The how-to's configuration, in the spelling of 8.3."""
    return f"""global {{ usage-count no; }}
common {{ syncer {{ rate 30M; }} }}
resource r0 {{
        protocol C;
        startup {{ wfc-timeout 15; degr-wfc-timeout 60; become-primary-on both; }}
        net {{ cram-hmac-alg sha1; shared-secret "my-secret"; allow-two-primaries;
              after-sb-0pri discard-zero-changes; after-sb-1pri discard-secondary; after-sb-2pri disconnect; {extra_net}}}
        on {left.name} {{ device /dev/drbd0; disk /dev/sdb1; address {left.address}:7788; meta-disk internal; }}
        on {right.name} {{ device /dev/drbd0; disk /dev/sdb1; address {right.address}:7788; meta-disk internal; }}
}}
"""


def fast(left, right, net="", disk="", secret="my-secret", protocol="C", rate="400M", extra=""):
    """Short network timeouts and a resync that is not throttled, so that scenarios take seconds.
    `extra`: whole sections of the resource, handlers for example."""
    return f"""global {{ usage-count no; }}
resource r0 {{
  {extra}
  net {{ protocol {protocol}; cram-hmac-alg sha1; shared-secret "{secret}";
        timeout 20; connect-int 3; ping-int 3; ping-timeout 10; {net} }}
  disk {{ resync-rate {rate}; c-plan-ahead 0; c-min-rate 0; {disk} }}
  on {left.name} {{ device /dev/drbd0; disk /dev/sdb1; address {left.address}:7788; meta-disk internal; }}
  on {right.name} {{ device /dev/drbd0; disk /dev/sdb1; address {right.address}:7788; meta-disk internal; }}
}}
"""


def two_volumes(left, right, net="", disk="", disks=None):
    """As fast(), with volumes 0 and 1 on both nodes. `disks`: {machine: (of volume 0, of volume 1)} where they are not sdb1 and sdc1."""
    text = ""
    for machine in (left, right):
        volumes = "".join(f"    volume {number} {{ device /dev/drbd{number}; disk {path}; meta-disk internal; }}\n"
                          for number, path in enumerate((disks or {}).get(machine, ("/dev/sdb1", "/dev/sdc1"))))
        text += f"  on {machine.name} {{\n    address {machine.address}:7788;\n{volumes}  }}\n"
    return f"""global {{ usage-count no; }}
resource r0 {{
  net {{ cram-hmac-alg sha1; shared-secret "my-secret"; timeout 20; connect-int 3; ping-int 3; ping-timeout 10; {net} }}
  disk {{ resync-rate 400M; c-plan-ahead 0; c-min-rate 0; {disk} }}
{text}}}
"""
