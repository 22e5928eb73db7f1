/* This machine's measured peak, to which benchmarks relate their rates. */
#ifndef GPU_OPS_HOST_PEAK_H
#define GPU_OPS_HOST_PEAK_H

enum host_peak {
    HOST_PEAK_FLOAT32,    /* fused multiply-adds, the widest vectors of this machine */
    HOST_PEAK_BF16,       /* vdpbf16ps of AVX-512 */
    HOST_PEAK_BF16_TILES, /* tdpbf16ps of AMX */
};

/*
 * GFLOP/s of `threads` threads doing nothing but such instructions on registers: the sum of each
 * thread's best of a few rounds, in its own processor time, so that other work on the machine does
 * not lower it. 0 where host_isa_detect does not allow them. Takes about 0.1 s. threads >= 1.
 */
double host_peak_gflops(enum host_peak peak, int threads);

/* The sum of each thread's rate in one such round: what the machine gives at this time. */
double host_peak_now_gflops(enum host_peak peak, int threads);

#endif
