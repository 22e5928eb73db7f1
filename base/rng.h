/*
 * Counter-based randomness: Philox4x32-10.
 *
 * A stream is a pure function of (seed, purpose, epoch, sample): no state is shared or saved, so
 * the number of threads, a pause or a resume cannot change what is drawn. Source: Salmon et al.,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011; checked against its known answers.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* What a stream is for. Values are part of every run's reproducibility: append, never renumber. */
enum rng_purpose {
    RNG_INIT_WEIGHTS = 1,
    RNG_ORDER = 2,      /* sample order of an epoch */
    RNG_CROP = 3,       /* crop and flip of one sample */
    RNG_MASK_SIZE = 4,  /* block sizes of one batch */
    RNG_MASK_PLACE = 5, /* block places of one sample */
    RNG_SCENE = 6,
    RNG_SUBSET = 7, /* held-out subsets, evaluation splits */
    RNG_PROBE = 8,  /* probe heads: initial weights and order */
    RNG_AUGMENT = 9,
    RNG_SUBSTITUTE = 10, /* what replaces a bad image */
    RNG_SWEEP = 11,      /* values of a random sweep */
    RNG_MIX = 20,        /* mixup and cutmix of one batch */
    RNG_DROP_PATH = 21,  /* branches dropped in one batch */
    RNG_ERASE = 22,      /* box erased from one image */
    RNG_TEST = 100,
};

struct rng {
    uint32_t key[2], counter[4], block[4];
    unsigned used; /* words of `block` handed out; 4: empty */
};

void rng_init(struct rng *rng, uint64_t seed, enum rng_purpose purpose, uint64_t epoch,
              uint64_t sample);
uint32_t rng_u32(struct rng *rng);
uint64_t rng_u64(struct rng *rng);
double rng_uniform(struct rng *rng);             /* [0, 1), 53 bits */
uint32_t rng_below(struct rng *rng, uint32_t n); /* [0, n), unbiased; n >= 1 */
double rng_normal(struct rng *rng);              /* N(0, 1), Box-Muller */

/* The raw block function, for the known-answer test. */
void rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t ret_block[4]);

#endif
