"""Install, upgrade, remove, purge; changing from drbd-utils and back."""

COMMANDS = ("drbdadm", "drbdsetup", "drbdmeta", "duplex", "duplexd")
FUSE_COMMANDS = ("duplex-procfs",)


def test_install_upgrade_remove_purge(root, packages):
    root.install(*packages["first"].node)
    assert "Duplex" in root.run("drbdadm --version").output
    assert root.run("drbdsetup help attach").output.startswith("USAGE:")
    assert root.run("duplex version").output.startswith("Duplex ")
    assert "USAGE" in root.run("drbdmeta", check=False).output
    assert "no resource given" in root.run("duplexd", check=False).output
    for command in COMMANDS + FUSE_COMMANDS:
        assert root.exists(f"/usr/share/man/man8/{command}.8.gz"), command
    root.run("drbdadm sh-nop")
    # The handlers are where configurations of DRBD name them.
    for name in ("notify-split-brain.sh", "notify-out-of-sync.sh", "notify-io-error.sh", "notify-emergency-reboot.sh",
                 "outdate-peer.sh", "snapshot-resync-target-lvm.sh", "unsnapshot-resync-target-lvm.sh"):
        root.run(f"test -x /usr/lib/drbd/{name}")
    answer = root.run("DRBD_RESOURCE=r0 /usr/lib/drbd/outdate-peer.sh", check=False)
    assert (answer.status, "DRBD_PEER names no peer" in answer.output) == (1, True), answer

    with open(root.path + "/etc/drbd.d/global_common.conf", "a", encoding="utf-8") as file:
        file.write("# mine\n")
    root.write("/etc/drbd.d/r0.res", "resource r0 { device /dev/drbd0; disk /dev/sdb1; meta-disk internal;\n"
               " on a { address 10.0.0.1:7788; } on b { address 10.0.0.2:7788; } }\n")
    assert root.run("__DRBD_NODE__=a drbdadm sh-resources 2>/dev/null").output == "r0\n"

    root.install(*packages["next"].node)
    assert root.run("dpkg-query -Wf '${Version}' duplex").output.endswith("+next1")
    assert root.read("/etc/drbd.d/global_common.conf").endswith("# mine\n")

    root.run("apt-get -qq -y remove duplex")
    for command in COMMANDS + FUSE_COMMANDS:
        assert not root.exists(f"/usr/sbin/{command}")
    assert root.read("/etc/drbd.d/global_common.conf").endswith("# mine\n")

    root.run("apt-get -qq -y purge duplex duplex-fuse && apt-get -qq -y autoremove --purge")
    left = root.files()
    assert {path for path in left if "drbd" in path or "duplex" in path} == {"/etc/drbd.d/r0.res"}  # not the package's
    assert not root.exists("/etc/drbd.conf") and not root.exists("/etc/init.d/drbd") and not root.exists("/var/log/duplex")


def test_takes_the_place_of_drbd_utils_and_gives_it_back(root, packages):
    root.install("drbd-utils")
    root.write("/etc/drbd.conf", root.read("/etc/drbd.conf") + "# mine\n")
    # dpkg asks which drbd.conf to keep, as it does of every changed configuration file; this is the answer.
    root.install("-o Dpkg::Options::=--force-confold", *packages["first"].node)
    assert "Duplex" in root.run("drbdadm --version").output
    status = root.run("dpkg-query -Wf '${db:Status-Status}' drbd-utils").output
    assert status == "config-files"
    assert root.read("/etc/drbd.conf").endswith("# mine\n")
    # The old package's leftovers go without taking what is now ours.
    root.run("apt-get -qq -y purge drbd-utils")
    for path in ("/etc/drbd.conf", "/etc/drbd.d/global_common.conf", "/etc/init.d/drbd", "/lib/udev/rules.d/65-drbd.rules"):
        assert root.exists(path), path
    assert root.read("/etc/drbd.conf").endswith("# mine\n")
    for command in COMMANDS:
        root.run(f"command -v {command}")
    assert root.run("dpkg --verify duplex").output.replace("??5??????", "").split() in ([], ["c", "/etc/drbd.conf"])

    root.install("-o Dpkg::Options::=--force-confold", "drbd-utils")
    assert "Duplex" not in root.run("drbdadm --version").output
    assert not root.exists("/usr/sbin/duplexd")


def test_dpkg_alone_replaces_drbd_utils(root, packages):
    root.install("drbd-utils")
    # apt has said first which one goes; dpkg finds out by itself, and removes the old package after unpacking the new one.
    root.run(f"dpkg --unpack {packages['first'].duplex}", check=False)
    root.run("DEBIAN_FRONTEND=noninteractive apt-get -qq -y -f install")
    for command in COMMANDS:
        root.run(f"command -v {command}")
    assert root.run("dpkg --verify duplex").output == ""


def test_block_devices_are_a_package_of_their_own(root, packages):
    root.install(packages["first"].duplex)
    assert not root.exists("/usr/sbin/duplex-procfs")
    assert "libfuse" not in root.run("ldd /usr/sbin/duplexd; dpkg-query -Wf '${Depends}' duplex").output
    answer = root.run("drbdsetup new-resource r0", check=False)
    assert answer.status != 0 and "install the package duplex-fuse" in answer.output, answer
    root.write("/etc/duplex.conf", "export nbd\n")
    root.run("drbdsetup new-resource r0 && drbdsetup down r0")
    root.write("/etc/duplex.conf", "")
    root.install(packages["first"].fuse)
    root.run("drbdsetup new-resource r0 && drbdsetup down r0")


def test_pacemaker_package(root, packages):
    # That its dependencies can be had is asked of apt; they are many, and what is tried here does without.
    root.install("--simulate", *packages["first"].all)
    root.install(*packages["first"].node)
    root.run(f"dpkg --force-depends -i {packages['first'].pacemaker}")
    metadata = root.run("/usr/lib/ocf/resource.d/duplex/drbd meta-data").output
    assert '<resource-agent name="drbd"' in metadata
    assert root.run("OCF_RESKEY_drbd_resource=none /usr/lib/ocf/resource.d/duplex/drbd monitor", check=False).status == 7
    assert "DRBD_RESOURCE names no resource" in root.run("/usr/lib/drbd/crm-fence-peer.sh", check=False).output
    assert "DRBD_PEER names no peer" in root.run("/usr/lib/drbd/stonith_admin-fence-peer.sh", check=False).output
    root.run("dpkg --purge duplex-pacemaker duplex-fuse duplex")
    assert not root.exists("/usr/lib/ocf/resource.d/duplex") and not root.exists("/usr/lib/duplex")


COMPLETE = r"""
. /usr/share/bash-completion/completions/%s
COMP_WORDS=(%s) COMP_CWORD=%d
_%s; echo "${COMPREPLY[@]}"
"""


def test_completion(root, packages):
    root.install(*packages["first"].node)
    root.write("/etc/drbd.d/r0.res", "resource r0 {\n volume 0 { device /dev/drbd0; disk /dev/a; meta-disk internal; }\n"
               " volume 1 { device /dev/drbd1; disk /dev/b; meta-disk internal; }\n"
               " on a { address 10.0.0.1:7788; } on b { address 10.0.0.2:7788; } }\n")
    cases = {("drbdadm", "prim"): "primary", ("drbdadm", "wait"): "wait-connect wait-con-int", ("drbdadm", "primary", "r"): "r0",
             ("drbdadm", "primary", "r0/"): "r0/0 r0/1", ("drbdadm", "net-options", "--allow"): "--allow-two-primaries",
             ("drbdsetup", "new-m"): "new-minor", ("drbdsetup", "attach", "0", "--disk-f"): "--disk-flushes=",
             ("drbdmeta", "0", "v08", "/dev/x", "internal", "dump"): "dump-md", ("duplex", "st"): "status"}
    for words, expected in cases.items():
        script = COMPLETE % (words[0], " ".join(words), len(words) - 1, words[0])
        root.write("/tmp/complete", script)
        assert root.run("__DRBD_NODE__=a bash /tmp/complete 2>/dev/null").output.split() == expected.split(), words
