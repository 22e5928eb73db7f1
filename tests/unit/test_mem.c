/* Allocation and scoped cleanup. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

Test(mem, memory_is_zeroed_and_products_are_checked)
{
    char *memory = mem_array(char, 4096);
    cr_assert_not_null(memory);
    for (int i = 0; i < 4096; i++)
        cr_assert_eq(memory[i], 0);
    mem_free(memory);
    cr_assert_null(mem_alloc_zero(SIZE_MAX / 2, 3));
    void *none = mem_alloc_zero(0, 8);
    cr_assert_not_null(none);
    mem_free(none);
    mem_free(NULL);
}

Test(mem, growing_keeps_the_content_and_failing_keeps_the_old)
{
    int *memory = mem_array(int, 4);
    for (int i = 0; i < 4; i++)
        memory[i] = i;
    memory = mem_grow(memory, 4000, sizeof *memory);
    cr_assert_not_null(memory);
    cr_assert_eq(memory[3], 3);
    cr_assert_null(mem_grow(memory, SIZE_MAX / 2, 3));
    cr_assert_eq(memory[3], 3);
    mem_free(memory);
}

Test(mem, alignment_is_what_was_asked)
{
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2)
        for (size_t bytes = 0; bytes < 200; bytes += 37) {
            char *memory = mem_alloc_aligned(alignment, bytes);
            cr_assert_not_null(memory);
            cr_assert_eq((uintptr_t)memory % alignment, 0);
            memset(memory, 1, bytes);
            mem_free(memory);
        }
    cr_assert_null(mem_alloc_aligned(64, SIZE_MAX - 10));
}

Test(mem, texts)
{
    char *copy = mem_strdup("abc"), *printed = mem_printf("%s-%d", "run", 42);
    cr_assert_str_eq(copy, "abc");
    cr_assert_str_eq(printed, "run-42");
    mem_free(copy);
    mem_free(printed);
}

Test(mem, the_chosen_allocation_fails_and_only_that_one)
{
    mem_fail_after(1);
    char *first = mem_strdup("a"), *second = mem_strdup("b"), *third = mem_strdup("c");
    cr_assert(first && !second && third);
    mem_fail_after(0);
    cr_assert_null(mem_grow(first, 2, 1));
    mem_fail_after(0);
    cr_assert_null(mem_alloc_aligned(64, 1));
    mem_fail_after(0);
    cr_assert_null(mem_printf("x"));
    mem_fail_after(-1);
    mem_free(first);
    mem_free(third);
}

Test(mem, scopes_close_and_taking_keeps)
{
    int fd, kept;
    {
        fd_auto int closing = open("/dev/null", O_RDONLY | O_CLOEXEC);
        fd_auto int moving = open("/dev/null", O_RDONLY | O_CLOEXEC);
        fd_auto int none = -1;
        (void)none;
        fd = closing;
        kept = FD_TAKE(moving);
        cr_assert_eq(moving, -1);
    }
    cr_assert(fcntl(fd, F_GETFD) < 0 && errno == EBADF);
    cr_assert_geq(fcntl(kept, F_GETFD), 0);
    close(kept);
    char *text;
    {
        mem_auto char *owner = mem_strdup("kept");
        text = MEM_TAKE(owner);
        cr_assert_null(owner);
    }
    cr_assert_str_eq(text, "kept");
    mem_free(text);
}
