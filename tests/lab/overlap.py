"""fio as four writers with eight requests each under way, all on the same MiB: requests overlap in whole and in part."""

SPAN_BYTES = 1 << 20


def writers(seconds):
    """A shell command; its terse report goes to written_kib()."""
    return ("cd /run && fio --name=w --filename=/dev/drbd0 --direct=1 --ioengine=libaio --iodepth=8 --numjobs=4 --thread "
            f"--size={SPAN_BYTES} --rw=randwrite --bssplit=4k/60:8k/20:512/10:16k/10 --blockalign=512 --norandommap --randrepeat=0 "
            f"--refill_buffers --time_based --runtime={seconds} --group_reporting --output-format=terse")


def written_kib(report):
    return int(report.output.strip().splitlines()[-1].split(";")[46])  # its 47th field
