"""What may go wrong between a log and what is learned from it, on a real Kafka and a real Redis.

Every test ends by comparing Redis with an undisturbed fold over the log: each shard byte for byte, and each snapshot
that is kept with the sums at its own offset vector (`exact.py`). `FAULTS` names the tests of each fault; those of
`tests/integration/store` are on the scripts and a real Redis.

What only an order of events can bring about (5, 7, 14, 21) is played through in `tests/simulation`; a replay that is
promoted mid-traffic (26), in `test_takeover.py`.
"""

FAULTS = {
    1: ("a kill before, while and after a checkpoint", ("faults/test_processes.py::test_killed_at_a_checkpoint",)),
    2: (
        "a lost answer to a checkpoint",
        ("store/test_lost_answers.py::test_an_answer_lost_on_the_way_changes_nothing",),
    ),
    3: ("a lost answer to a publish", ("store/test_lost_answers.py::test_an_answer_lost_on_the_way_changes_nothing",)),
    4: ("a worker frozen beyond its session", ("faults/test_processes.py::test_a_zombie_is_fenced",)),
    6: ("three joins and leaves under load", ("faults/test_broker.py::test_members_come_and_go_under_load",)),
    8: ("Redis killed, its last second lost", ("faults/test_redis.py::test_redis_loses_the_last_second",)),
    9: (
        "a promoted replica without the last writes",
        ("faults/test_redis.py::test_a_promoted_replica_lacks_acknowledged_writes",),
    ),
    10: (
        "a full Redis, and one that evicts",
        (
            "faults/test_redis.py::test_redis_is_full_for_a_while",
            "faults/test_redis.py::test_a_redis_that_evicts_is_refused",
        ),
    ),
    11: ("SCRIPT FLUSH on the run", ("faults/test_redis.py::test_scripts_are_flushed",)),
    12: ("notifications that go nowhere", ("faults/test_redis.py::test_notifications_go_nowhere",)),
    13: (
        "the broker away beyond the session",
        ("faults/test_broker.py::test_the_broker_is_away_beyond_the_session",),
    ),
    15: ("fetches that bring nothing, a silent broker", ("faults/test_broker.py::test_fetches_bring_nothing",)),
    16: (
        "a checkpoint below the log's start",
        (
            "faults/test_log.py::test_records_left_before_they_were_read",
            "faults/test_log.py::test_records_leave_while_the_worker_is_away_from_them",
            "faults/test_log.py::test_all_records_left_after_they_were_read",
            "faults/test_processes.py::test_a_truncated_log_ends_with_code_3",
        ),
    ),
    17: (
        "a topic made anew, and longer",
        (
            "faults/test_log.py::test_the_topic_is_made_anew_between_two_runs",
            "faults/test_log.py::test_the_topic_is_made_anew_with_a_gap_where_it_would_be_told",
            "faults/test_log.py::test_the_topic_is_made_anew_under_a_worker",
        ),
    ),
    18: ("aborted transactions, a marker at the end", ("faults/test_log.py::test_transactions_are_taken_back",)),
    19: ("gaps of compaction", ("faults/test_log.py::test_compaction_leaves_gaps",)),
    20: ("more partitions, with open joins", ("faults/test_log.py::test_partitions_are_added_under_load",)),
    22: ("a timestamp in 2099", ("faults/test_log.py::test_a_clock_from_2099",)),
    23: (
        "poison, and a record that kills its reader",
        (
            "test_worker.py::test_bad_records_go_to_the_dead_letters",
            "faults/test_processes.py::test_a_record_kills_every_worker",
            "faults/test_processes.py::test_chance_kills_five_workers",
            "faults/test_redis.py::test_redis_fails_amid_a_careful_fold",
        ),
    ),
    24: ("two deployments of one policy", ("faults/test_redis.py::test_two_deployments_learn_one_policy",)),
    25: ("a rollback beside a publish, an expiry beside a reader", ("store/test_races.py", "store/test_retention.py")),
    27: ("another structure under the same name", ("faults/test_processes.py::test_another_structure_joins",)),
}
"""The faults of docs/guarantees.md: what happens, and the tests that show it (below tests/integration)."""
