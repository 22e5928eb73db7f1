/*
 * The messages that a program may wait for, each with a number of its own for the journal
 * (MESSAGE_ID). A number is never given to another message; docs/logging.md lists them.
 */
#ifndef BASE_LOG_MESSAGE_H
#define BASE_LOG_MESSAGE_H

/* X(code, MESSAGE_ID, IJEPAD_EVENT, what it says) */
#define LOG_MESSAGE_MAP(X)                                                                         \
    X(READY, "56d6aa96c4e2431187bfd14401a82eaa", "ready", "the daemon serves")                     \
    X(STOPPING, "d0a12ffdf8c24d45a248414ae0669e64", "stopping", "it was told to stop")             \
    X(STOPPED, "de538c2073254eacbb48e26647629083", "stopped", "it has stopped in order")           \
    X(RELOADED, "736bb7d382774f4d8bc5c3b32d8e72c7", "config.reloaded",                             \
      "the configuration was read again")                                                          \
    X(CONFIG_WRONG, "01addf473c2746d1965eac35fa58279d", "config.wrong",                            \
      "the new configuration is wrong, the old one stays")                                         \
    X(RUN_STATE, "aa2a014c52574c1182fa7b229623e8e5", "run.state", "a run changed its state")       \
    X(RUN_SUBMITTED, "5a35fbeb16634d6ea9353f4df3ce942e", "run.submitted", "a run was submitted")   \
    X(CHECKPOINT, "a12fe726a36b4d0f9ee1b43322f9050b", "run.checkpoint",                            \
      "a checkpoint was saved and checked")                                                        \
    X(RUN_WARNING, "89bdb3be2c6e4dd08b8ea3ef6f767ef8", "run.warning", "a worker warns")            \
    X(GPU_FAULT, "e08102497b68462995192452c1374d23", "gpu.fault", "a GPU reported a fault")        \
    X(GPU_CORDON, "e72d5435ce014e0f8285841811c95245", "gpu.cordon",                                \
      "a GPU takes no new run, or does again")                                                     \
    X(DEGRADED, "d6e09520bb6c48db9e698f3493a50822", "server.degraded",                             \
      "a damaged database was restored from a backup")                                             \
    X(BACKUP_FAILED, "8171882c5461406fa13ca5183f65e38e", "server.backup_failed",                   \
      "a backup could not be made or checked")                                                     \
    X(ALERT, "7629dd31d57f48a9983bb336b500bd4c", "server.alert",                                   \
      "something is wrong that lasts, or is over")                                                 \
    X(WEBHOOK_GIVEN_UP, "b2795b5a3f5f41a896af3af50ceba7c8", "webhook.given_up",                    \
      "a message was not taken by its receiver")                                                   \
    X(STORAGE, "48e1ffac9ce942f08a920f4ee202095e", "storage.failed", "the state cannot be stored")

enum log_message {
    LOG_MESSAGE_NONE,
#define X(code, id, event, help) LOG_MESSAGE_##code,
    LOG_MESSAGE_MAP(X)
#undef X
        LOG_MESSAGE_COUNT
};

#endif
