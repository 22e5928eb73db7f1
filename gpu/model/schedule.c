/* The three schedules. See schedule.h. */
#include "gpu/model/schedule.h"

#include <math.h>

/* Whole steps in `epochs` epochs; 0.3 epochs of 10 steps are 3 in spite of binary fractions. */
static double whole_steps(double epochs, uint64_t steps_per_epoch)
{
    return floor(epochs * (double)steps_per_epoch + 1e-9);
}

uint64_t schedule_steps_per_epoch(const struct engine_optimizer *optimizer, uint64_t images)
{
    return images / optimizer->batch / optimizer->accumulate;
}

struct schedule schedule_new(const struct engine_optimizer *o, uint64_t steps_per_epoch)
{
    struct schedule s = {
        .total = fmax(1, whole_steps(o->ipe_scale * o->epochs, steps_per_epoch)),
        .warmup = whole_steps(o->warmup_epochs, steps_per_epoch),
        .start_lr = o->start_lr,
        .lr = o->lr,
        .final_lr = o->final_lr,
        .weight_decay = o->weight_decay,
        .final_weight_decay = o->final_weight_decay,
        .ema_start = o->ema_start,
        .ema_end = o->ema_end,
    };
    s.steps = (uint64_t)fmax(1, whole_steps(o->epochs, steps_per_epoch));
    if (o->max_steps > 0 && o->max_steps < s.steps)
        s.steps = o->max_steps;
    return s;
}

double schedule_lr(const struct schedule *s, uint64_t step)
{
    double at = (double)step;
    if (at < s->warmup)
        return s->start_lr + at / fmax(1, s->warmup) * (s->lr - s->start_lr);
    double t = fmin(1, (at - s->warmup) / fmax(1, s->total - s->warmup));
    double lr = s->final_lr + (s->lr - s->final_lr) * 0.5 * (1 + cos(M_PI * t));
    return fmax(s->final_lr, lr);
}

double schedule_weight_decay(const struct schedule *s, uint64_t step)
{
    double t = fmin(1, (double)step / s->total);
    double first = s->weight_decay, last = s->final_weight_decay;
    double decay = last + (first - last) * 0.5 * (1 + cos(M_PI * t));
    return last <= first ? fmax(last, decay) : fmin(last, decay);
}

double schedule_ema(const struct schedule *s, uint64_t index)
{
    return s->ema_start + fmin((double)index, s->total) * (s->ema_end - s->ema_start) / s->total;
}
