"""Workers under faults: a real Kafka, a real Redis and real processes, hurt by a seeded plan while they learn.

    plan -> what is done to whom, and when          (a function of the seed)
    traffic -> what is produced                     (a function of the seed)
    deployment, fleet -> the servers and the worker processes
    faults -> carries the plan out
    watch -> looks at the checkpoints meanwhile
    judge -> compares what was learned with an undisturbed fold over the same log

The seed fixes the plan and the events, not what the operating system makes of them: which record is being folded when a
process is killed differs from run to run.
"""
