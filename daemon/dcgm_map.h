/*
 * Which run holds which GPU, told by files as dcgm-exporter reads them (its option
 * --hpc-job-mapping-dir): "<directory>/<index of the GPU>" holds the run's id, like r42, while a
 * run has the GPU, and is not there otherwise. Loop thread only.
 */
#ifndef DAEMON_DCGM_MAP_H
#define DAEMON_DCGM_MAP_H

#include "daemon/device.h"

/* Brings the files in line with the table; a file is replaced as a whole. `directory` "": nothing
 * is written. What fails is logged: no run depends on it. */
void dcgm_map_write(const char *directory, const struct device_table *table);

#endif
