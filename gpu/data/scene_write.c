/*
 * engine_scenes: renders a dataset in CLEVR's layout.
 *
 *     <dir>/train/train_000000.jpg ...   <dir>/scenes/train_scenes.json
 *     <dir>/val/val_000000.jpg ...       <dir>/scenes/val_scenes.json     every tenth scene
 *
 * Threads take scenes by index; a scene's bytes depend on (seed, index, size) alone and its text is
 * kept in a slot of its own, so the files do not depend on the number of threads. The JSON files
 * come last and durably: where they exist, the dataset is complete.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/jpeg_writer.h"
#include "gpu/data/scene.h"
#include "gpu/engine.h"

#define COUNT_MIN     10u
#define COUNT_MAX     2000000u
#define SIZE_MIN      16u
#define SIZE_MAX_PX   1024u
#define VAL_EVERY     10u
#define QUALITY       92
#define THREADS_MAX   16
#define JSON_SIZE_MAX ((size_t)4 << 30)

struct job {
    const char *directory;
    uint32_t count, size;
    uint64_t seed;
    char **texts;          /* (count) the JSON object of each scene; a slot has one writer */
    _Atomic uint32_t next; /* next scene to take */
    _Atomic bool failed;
    pthread_mutex_t mutex;
    enum ij_status status; /* guarded by mutex: the first failure */
    struct ij_err err;     /* guarded by mutex */
};

struct place {
    bool val;
    uint32_t number; /* within its split */
};

static struct place place_of(uint32_t index)
{
    bool val = index % VAL_EVERY == VAL_EVERY - 1;
    return (struct place){val, val ? index / VAL_EVERY : index - index / VAL_EVERY};
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *triple(double a, double b, double c)
{
    return json_pack("[f, f, f]", a, b, c);
}

static json_t *object_json(const struct scene_object *object, uint32_t size)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:f, s:o, s:o, s:f}", "shape", scene_shape_name(object->shape),
        "color", scene_color_name(object->color), "size", scene_size_name(object->size), "material",
        scene_material_name(object->material), "rotation", (double)object->rotation, "3d_coords",
        triple((double)object->center.x, (double)object->center.y, (double)object->center.z),
        "pixel_coords",
        triple((double)(object->pixel[0] * (float)size), (double)(object->pixel[1] * (float)size),
               (double)object->depth),
        "pixel_radius", (double)(object->pixel_radius * (float)size));
}

/* NULL without memory; the caller frees with mem_free. */
static char *scene_json(const struct scene *scene, uint32_t index, uint32_t size)
{
    char file[32];
    struct place place = place_of(index);
    const char *split = place.val ? "val" : "train";
    snprintf(file, sizeof(file), "%s_%06u.jpg", split, place.number);
    json_t *objects = json_array();
    for (int i = 0; i < scene->count; i++)
        json_array_append_new(objects, object_json(&scene->objects[i], size));
    json_t *json = json_pack("{s:s, s:i, s:s, s:o}", "image_filename", file, "image_index",
                             (int)place.number, "split", split, "objects", objects);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(json);
    return copy;
}

/* ---- One scene ------------------------------------------------------------------------------- */

static enum ij_status write_file(const char *path, const void *data, size_t size,
                                 struct ij_err *reterr_err)
{
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
    return file_write_all(fd, data, size, path, reterr_err);
}

static enum ij_status make_scene(struct job *job, uint32_t index, uint8_t *pixels,
                                 struct jpeg_writer *writer, struct ij_err *reterr_err)
{
    struct scene scene;
    struct place place = place_of(index);
    const char *split = place.val ? "val" : "train";
    const uint8_t *data;
    size_t size;
    char path[2 * ENGINE_PATH_MAX];
    scene_make(&scene, job->seed, index);
    scene_render(&scene, job->size, pixels);
    job->texts[index] = scene_json(&scene, index, job->size);
    if (!job->texts[index])
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to describe scene %u", index);
    IJ_TRY(jpeg_writer_compress(writer, pixels, job->size, job->size, QUALITY, &data, &size,
                                reterr_err));
    snprintf(path, sizeof(path), "%s/%s/%s_%06u.jpg", job->directory, split, split, place.number);
    return write_file(path, data, size, reterr_err);
}

static enum ij_status make_scenes(struct job *job, struct ij_err *reterr_err)
{
    struct jpeg_writer *writer;
    uint32_t index;
    enum ij_status status = IJ_OK;
    mem_auto uint8_t *pixels = mem_array(uint8_t, 3 * (size_t)job->size * job->size);
    if (!pixels)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a picture of %u pixels", job->size);
    IJ_TRY(jpeg_writer_new(&writer, reterr_err));
    while (status == IJ_OK && !atomic_load(&job->failed) &&
           (index = atomic_fetch_add(&job->next, 1)) < job->count)
        status = make_scene(job, index, pixels, writer, reterr_err);
    jpeg_writer_free(writer);
    return status;
}

static void *run_thread(void *argument)
{
    struct job *job = argument;
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = make_scenes(job, &err);
    if (status != IJ_OK) {
        atomic_store(&job->failed, true);
        pthread_mutex_lock(&job->mutex);
        if (job->status == IJ_OK) {
            job->status = status;
            job->err = err;
        }
        pthread_mutex_unlock(&job->mutex);
    }
    return NULL;
}

/* The calling thread works too; threads that do not start are done without. */
static enum ij_status run_all(struct job *job, struct ij_err *reterr_err)
{
    pthread_t threads[THREADS_MAX];
    cpu_set_t set;
    int wanted = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1, started = 0;
    pthread_mutex_init(&job->mutex, NULL);
    while (started < wanted - 1 && started < THREADS_MAX &&
           pthread_create(&threads[started], NULL, run_thread, job) == 0)
        started++;
    (void)run_thread(job);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&job->mutex);
    if (job->status != IJ_OK && reterr_err)
        *reterr_err = job->err;
    return job->status;
}

/* ---- The folder ------------------------------------------------------------------------------ */

static enum ij_status write_json(const struct job *job, bool val, struct ij_err *reterr_err)
{
    const char *split = val ? "val" : "train", *comma = "";
    char path[2 * ENGINE_PATH_MAX];
    struct buf buf;
    buf_init(&buf, JSON_SIZE_MAX);
    buf_printf(&buf, "{\"info\":{\"split\":\"%s\",\"seed\":%llu,\"size\":%u},\"scenes\":[\n", split,
               (unsigned long long)job->seed, job->size);
    for (uint32_t i = 0; i < job->count; i++)
        if (place_of(i).val == val) {
            buf_append_text(&buf, comma);
            buf_append_text(&buf, job->texts[i]);
            comma = ",\n";
        }
    buf_append_text(&buf, "\n]}\n");
    enum ij_status status = buf_status(&buf);
    snprintf(path, sizeof(path), "%s/scenes/%s_scenes.json", job->directory, split);
    if (status == IJ_OK)
        status = file_write_durable(path, buf.data, buf.size, 0644, reterr_err);
    else
        IJ_ERR(reterr_err, status, "no memory for the descriptions of %u scenes", job->count);
    buf_done(&buf);
    return status;
}

static enum ij_status prepare(const struct job *job, struct ij_err *reterr_err)
{
    static const char *const folders[] = {"train", "val", "scenes"};
    char path[2 * ENGINE_PATH_MAX];
    if (job->count < COUNT_MIN || job->count > COUNT_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "count", "must be %u to %u scenes, not %u",
                            COUNT_MIN, COUNT_MAX, job->count);
    if (job->size < SIZE_MIN || job->size > SIZE_MAX_PX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "size", "must be %u to %u pixels, not %u",
                            SIZE_MIN, SIZE_MAX_PX, job->size);
    if (strnlen(job->directory, ENGINE_PATH_MAX) >= ENGINE_PATH_MAX || !job->directory[0])
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory", "must be a path of 1 to %d bytes",
                            ENGINE_PATH_MAX - 1);
    snprintf(path, sizeof(path), "%s/scenes/train_scenes.json", job->directory);
    if (access(path, F_OK) == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, "directory",
                            "%s already holds scenes; choose another folder or remove it",
                            job->directory);
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", job->directory, folders[i]);
        IJ_TRY(file_make_dirs(path, 0755, reterr_err));
    }
    return IJ_OK;
}

enum ij_status engine_scenes(const char *directory, uint32_t count, uint32_t size, uint64_t seed,
                             struct ij_err *reterr_err)
{
    struct job job = {.directory = directory, .count = count, .size = size, .seed = seed};
    IJ_TRY(prepare(&job, reterr_err));
    job.texts = mem_array(char *, count);
    if (!job.texts)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u scenes", count);
    enum ij_status status = run_all(&job, reterr_err);
    if (status == IJ_OK)
        status = write_json(&job, true, reterr_err);
    if (status == IJ_OK) /* last: its presence says that all is there */
        status = write_json(&job, false, reterr_err);
    for (uint32_t i = 0; i < count; i++)
        mem_free(job.texts[i]);
    mem_free(job.texts);
    return status;
}
