/* CRC-32C (Castagnoli), with the processor's instruction where it is compiled in. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (start with 0) over `len` bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/*
 * Another number that finds the same changes, for hundreds of bytes: three thirds side by side, then their results. A
 * processor does three such instructions in the time that one, waiting for the one before, takes.
 */
uint32_t crc32c_thirds(uint32_t crc, const void *data, size_t len);
