/* See run_state.h. */
#include "store/run_state.h"

#include <string.h>

#include "base/status.h"

static const struct {
    const char *name;
    bool terminal, process;
} run_state_rows[RUN_STATE_COUNT] = {
#define X(code, name, terminal, process) [RUN_STATE_##code] = {name, terminal, process},
    RUN_STATE_MAP(X)
#undef X
};

static const char *const run_state_desires[RUN_STATE_DESIRE_COUNT] = {
#define X(code, name) [RUN_STATE_DESIRE_##code] = name,
    RUN_STATE_DESIRE_MAP(X)
#undef X
};

const char *run_state_name(enum run_state state)
{
    IJ_ASSERT((unsigned)state < RUN_STATE_COUNT);
    return run_state_rows[state].name;
}

bool run_state_from_name(const char *name, enum run_state *ret_state)
{
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        if (strcmp(name, run_state_rows[i].name) == 0) {
            *ret_state = (enum run_state)i;
            return true;
        }
    return false;
}

bool run_state_is_terminal(enum run_state state)
{
    IJ_ASSERT((unsigned)state < RUN_STATE_COUNT);
    return run_state_rows[state].terminal;
}

bool run_state_is_live(enum run_state state)
{
    return !run_state_is_terminal(state);
}

bool run_state_has_process(enum run_state state)
{
    IJ_ASSERT((unsigned)state < RUN_STATE_COUNT);
    return run_state_rows[state].process;
}

uint32_t run_state_live_mask(void)
{
    uint32_t mask = 0;
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        if (!run_state_rows[i].terminal)
            mask |= RUN_STATE_BIT(i);
    return mask;
}

const char *run_state_desire_name(enum run_state_desire desire)
{
    IJ_ASSERT((unsigned)desire < RUN_STATE_DESIRE_COUNT);
    return run_state_desires[desire];
}

bool run_state_desire_from_name(const char *name, enum run_state_desire *ret_desire)
{
    for (int i = 0; i < RUN_STATE_DESIRE_COUNT; i++)
        if (strcmp(name, run_state_desires[i]) == 0) {
            *ret_desire = (enum run_state_desire)i;
            return true;
        }
    return false;
}
