/* See image_survey.h. One mutex guards what is left to do and what was found; a decoder has some
 * images read ahead of the one it looks at. */
#include "gpu/data/image_survey.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/mem.h"
#include "gpu/data/decoder_jail.h"
#include "gpu/data/image_reader.h"
#include "gpu/data/loader_options.h"
#include "gpu/data/read_ahead.h"

#define CLAIMS 16u /* images of a decoder at a time */

struct surveyor {
    struct image_survey *survey;
    struct image_reader *reader;
    pthread_t thread;
    struct read_ahead_jar jars[CLAIMS];
};

struct image_survey {
    const struct dataset *dataset;
    struct bad_images *bad;
    struct read_ahead *ahead;
    struct surveyor *surveyors;
    struct image_survey_size *sizes;
    uint32_t threads, started;
    bool pixels;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* guarded by mutex, all of the following */
    uint64_t next, done, jpeg, png;
    bool stop;
    enum ij_status status;
    struct ij_err err;
};

/* ---- Work of the threads --------------------------------------------------------------------- */

static enum ij_status decode(const struct surveyor *s, const struct dataset_buffer *bytes,
                             struct image_info *ret_info, struct ij_err *reterr_err)
{
    struct image_strip strip;
    IJ_TRY(image_reader_open(s->reader, bytes->data, bytes->size, ret_info, reterr_err));
    if (!s->survey->pixels)
        return IJ_OK;
    struct image_box whole = {0, 0, ret_info->width, ret_info->height};
    IJ_TRY(image_reader_start(s->reader, &whole, reterr_err));
    for (uint32_t row = 0; row < whole.height; row += strip.count)
        IJ_TRY(image_reader_rows(s->reader, &strip, reterr_err));
    return IJ_OK;
}

/* Looks at the image in `jar`; only a lack of memory is an error of its own. */
static enum ij_status look_at(const struct surveyor *s, struct read_ahead_jar *jar,
                              struct image_info *ret_info, struct ij_err *reterr_err)
{
    struct ij_err cause = IJ_ERR_INIT;
    enum ij_status status = read_ahead_wait(s->survey->ahead, jar, &cause);
    if (status == IJ_OK)
        status = decode(s, &jar->bytes, ret_info, &cause);
    image_reader_close(s->reader);
    if (status == IJ_OK)
        return IJ_OK;
    *ret_info = (struct image_info){.width = 0};
    if (status == IJ_NO_MEMORY)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "%s", cause.text);
    return bad_images_add(s->survey->bad, jar->sample, cause.text, reterr_err);
}

/* With the mutex held: what was found in one image. */
static void note(struct image_survey *survey, uint64_t sample, const struct image_info *info,
                 enum ij_status status, const struct ij_err *err)
{
    survey->sizes[sample] = (struct image_survey_size){info->width, info->height};
    survey->jpeg += info->width && info->format == IMAGE_JPEG;
    survey->png += info->width && info->format == IMAGE_PNG;
    survey->done++;
    if (status != IJ_OK && survey->status == IJ_OK) {
        survey->status = status;
        survey->err = *err;
    }
    if (status != IJ_OK || survey->done == dataset_count(survey->dataset))
        pthread_cond_signal(&survey->changed);
}

static void *run_surveyor(void *user)
{
    struct surveyor *s = user;
    struct image_survey *survey = s->survey;
    uint64_t claimed = 0, made = 0, count = dataset_count(survey->dataset);
    pthread_setname_np(pthread_self(), "survey");
    (void)!decoder_jail_enter(NULL); /* without one, as the loader */
    pthread_mutex_lock(&survey->mutex);
    for (;;) {
        while (claimed - made < CLAIMS && survey->next < count && !survey->stop)
            read_ahead_request(survey->ahead, &s->jars[claimed++ % CLAIMS], survey->next++);
        if (claimed == made)
            break;
        struct read_ahead_jar *jar = &s->jars[made++ % CLAIMS];
        struct image_info info = {.width = 0};
        struct ij_err err = IJ_ERR_INIT;
        pthread_mutex_unlock(&survey->mutex);
        enum ij_status status = look_at(s, jar, &info, &err);
        pthread_mutex_lock(&survey->mutex);
        note(survey, jar->sample, &info, status, &err);
        survey->stop |= status != IJ_OK;
    }
    pthread_mutex_unlock(&survey->mutex);
    return NULL;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status start(struct image_survey *survey, struct surveyor *s,
                            struct ij_err *reterr_err)
{
    sigset_t all, old;
    s->survey = survey;
    IJ_TRY(image_reader_new(&s->reader, reterr_err));
    for (uint32_t i = 0; i < CLAIMS; i++)
        read_ahead_jar_init(&s->jars[i]);
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int sys = pthread_create(&s->thread, NULL, run_surveyor, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (sys) {
        image_reader_free(s->reader);
        return IJ_ERR_SYS(reterr_err, sys, "data.loader_threads", "cannot start a thread");
    }
    survey->started++;
    return IJ_OK;
}

static enum ij_status set_up(struct image_survey *survey, struct ij_err *reterr_err)
{
    size_t count = dataset_count(survey->dataset);
    survey->sizes = mem_array(struct image_survey_size, count);
    survey->surveyors = mem_array(struct surveyor, survey->threads);
    if (!survey->sizes || !survey->surveyors)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the sizes of %zu images", count);
    IJ_TRY(bad_images_new(survey->dataset, 1, &survey->bad, reterr_err));
    decoder_jail_prepare();
    IJ_TRY(read_ahead_new(survey->dataset, survey->threads, &survey->ahead, reterr_err));
    for (uint32_t i = 0; i < survey->threads; i++)
        IJ_TRY(start(survey, &survey->surveyors[i], reterr_err));
    return IJ_OK;
}

enum ij_status image_survey_new(const struct dataset *dataset, uint32_t threads, bool pixels,
                                struct image_survey **ret_survey, struct ij_err *reterr_err)
{
    struct loader_options options = {.threads = threads};
    struct image_survey *survey = mem_new(struct image_survey);
    pthread_condattr_t attributes;
    if (!survey)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to look at images");
    loader_options_complete(&options);
    survey->dataset = dataset;
    survey->threads = options.threads;
    survey->pixels = pixels;
    pthread_mutex_init(&survey->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&survey->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    enum ij_status status = set_up(survey, reterr_err);
    if (status != IJ_OK) {
        image_survey_free(survey);
        return status;
    }
    *ret_survey = survey;
    return IJ_OK;
}

void image_survey_free(struct image_survey *survey)
{
    if (!survey)
        return;
    pthread_mutex_lock(&survey->mutex);
    survey->stop = true;
    pthread_mutex_unlock(&survey->mutex);
    for (uint32_t i = 0; i < survey->started; i++) {
        struct surveyor *s = &survey->surveyors[i];
        pthread_join(s->thread, NULL);
        image_reader_free(s->reader);
        for (uint32_t j = 0; j < CLAIMS; j++)
            read_ahead_jar_done(&s->jars[j]);
    }
    read_ahead_free(survey->ahead);
    bad_images_free(survey->bad);
    pthread_cond_destroy(&survey->changed);
    pthread_mutex_destroy(&survey->mutex);
    mem_free(survey->surveyors);
    mem_free(survey->sizes);
    mem_free(survey);
}

enum ij_status image_survey_wait(struct image_survey *survey, int64_t patience_ms,
                                 uint64_t *ret_done, struct ij_err *reterr_err)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + patience_ms % 1000 * 1000000;
    until.tv_sec += patience_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    int sys = 0;
    pthread_mutex_lock(&survey->mutex);
    while (!sys && survey->status == IJ_OK && survey->done < dataset_count(survey->dataset))
        sys = pthread_cond_timedwait(&survey->changed, &survey->mutex, &until);
    enum ij_status status = survey->status;
    *ret_done = survey->done;
    if (status != IJ_OK && reterr_err)
        *reterr_err = survey->err;
    pthread_mutex_unlock(&survey->mutex);
    return status;
}

struct image_survey_view image_survey_get(const struct image_survey *survey)
{
    return (struct image_survey_view){survey->sizes, survey->jpeg, survey->png};
}

struct bad_images *image_survey_bad(struct image_survey *survey)
{
    return survey->bad;
}
