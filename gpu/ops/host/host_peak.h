/* This machine's measured peak, to which benchmarks relate their rates. */
#ifndef GPU_OPS_HOST_PEAK_H
#define GPU_OPS_HOST_PEAK_H

/*
 * Float32 GFLOP/s of `threads` threads doing nothing but fused multiply-adds on registers, with the
 * widest vectors of this machine: the sum of each thread's best of a few rounds, in its own
 * processor time, so that other work on the machine does not lower it. Takes about 0.1 s. threads
 * >= 1.
 */
double host_peak_gflops(int threads);

#endif
