/*
 * Mistakes that are made on purpose, one at a time, to see that the tests would find them.
 *
 * An ordinary build has none: SEED_BUG(X) is the constant false. tests/fault/test_seeded_bugs.py
 * builds one program per mistake with -DIJ_SEED_BUG=SEED_BUG_X and expects the test meant for it to
 * fail.
 */
#ifndef BASE_SEED_BUG_H
#define BASE_SEED_BUG_H

#define SEED_BUG_NO_FSYNC           1 /* files of a checkpoint */
#define SEED_BUG_NO_DIRECTORY_FSYNC 2 /* after a checkpoint got its name */
#define SEED_BUG_EARLY_ACK          3 /* metrics before their commit */
#define SEED_BUG_SYNCHRONOUS_NORMAL 4 /* of the databases */
#define SEED_BUG_HOST_UNCHECKED     5
#define SEED_BUG_DEPTH_LIMIT        6  /* of JSON, off by one */
#define SEED_BUG_KEEPS_SUPERSEDED   7  /* metrics of steps that a resumed run does again */
#define SEED_BUG_MOMENTS_LOST       8  /* of the optimiser, at a resume */
#define SEED_BUG_RESUME_OFF_BY_ONE  9  /* step */
#define SEED_BUG_DELETE_OPEN        10 /* DELETE without a token */
#define SEED_BUG_FOREIGN_PATH       11 /* of a checkpoint, unchecked */
#define SEED_BUG_NEVER_QUARANTINED  12

#ifndef IJ_SEED_BUG
#define IJ_SEED_BUG 0
#endif
#define SEED_BUG(name) (IJ_SEED_BUG == SEED_BUG_##name)

#endif
