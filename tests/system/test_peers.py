"""The scenarios between Duplex and the kernel's DRBD, between two Duplex nodes."""

# pylint: disable=unused-import
from kernel.test_checksums import test_checksum_resync  # noqa: F401
from kernel.test_congestion import (test_connection_lost_while_ahead, test_disconnect_on_congestion,  # noqa: F401
                                    test_pull_ahead_and_catch_up)
from kernel.test_fencing import (test_disconnect_outdates_the_secondary, test_frozen_and_the_peer_restarts,  # noqa: F401
                                 test_frozen_until_the_peer_is_back, test_promotion_asks_the_handler,
                                 test_stonith_freezes_until_the_peer_is_fenced)
from kernel.test_resize import (small, test_assume_clean_resyncs_nothing, test_both_disks_have_grown,  # noqa: F401
                                test_grow_under_load_to_a_given_size, test_the_smaller_disk_decides)
from kernel.test_verify import (test_verify_marks_and_reconnect_repairs, test_verify_range_and_stop,  # noqa: F401
                                test_verify_under_load, test_verify_with_every_digest)
