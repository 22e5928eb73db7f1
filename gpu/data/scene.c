/* See scene.h: drawing a scene at random. The picture itself is made in scene_render.c. */
#include "gpu/data/scene.h"

#include <stdbool.h>

#include "base/rng.h"

#define PLACE_RANGE   3.0  /* objects stand within +-3 */
#define GAP           0.2f /* between footprints */
#define PICTURE_EDGE  0.01f
#define HIDING        1.2f /* radii of the nearer object between the centres */
#define PLACE_TRIES   40
#define CAMERA_JITTER 0.5

static const float object_radius[SCENE_SIZE_COUNT] = {0.45f, 0.8f};

static const struct {
    const char *name;
    uint8_t rgb[3];
} colors[SCENE_COLOR_COUNT] = {
    {"gray", {87, 87, 87}},   {"red", {173, 35, 35}},     {"blue", {42, 75, 215}},
    {"green", {29, 105, 20}}, {"brown", {129, 74, 25}},   {"purple", {129, 38, 192}},
    {"cyan", {41, 208, 208}}, {"yellow", {255, 238, 51}},
};

const char *scene_shape_name(enum scene_shape shape)
{
    static const char *const names[] = {"sphere", "cube", "cylinder"};
    return names[shape];
}

const char *scene_material_name(enum scene_material material)
{
    return material == SCENE_METAL ? "metal" : "rubber";
}

const char *scene_size_name(enum scene_size size)
{
    return size == SCENE_LARGE ? "large" : "small";
}

const char *scene_color_name(int color)
{
    return colors[color].name;
}

const uint8_t *scene_color_rgb(int color)
{
    return colors[color].rgb;
}

static float draw(struct rng *rng, double low, double high)
{
    return (float)(low + (high - low) * rng_uniform(rng));
}

static void draw_view(struct scene *scene, struct rng *rng)
{
    const double j = CAMERA_JITTER;
    struct scene_camera *camera = &scene->camera;
    struct vec3 target = vec3_of(0, 0, 0.2f);
    camera->position = vec3_of(6.6f, -6.1f, 6.2f);
    camera->position.x += draw(rng, -j, j);
    camera->position.y += draw(rng, -j, j);
    camera->position.z += draw(rng, -j, j);
    camera->forward = vec3_unit(vec3_sub(target, camera->position));
    camera->right = vec3_unit(vec3_cross(camera->forward, vec3_of(0, 0, 1)));
    camera->up = vec3_cross(camera->right, camera->forward);
    camera->focal = 1.2f;
    scene->key_light = vec3_add(vec3_scale(camera->right, draw(rng, -7, -5)),
                                vec3_of(draw(rng, 0, 2), draw(rng, -2, 0), draw(rng, 7, 9)));
    scene->fill_light = vec3_add(vec3_scale(camera->right, draw(rng, 5, 7)), vec3_of(3, -3, 5));
    scene->ground_tint = draw(rng, 0.9, 1.05);
}

/* Where the object is in the picture; see the fields of struct scene_object. */
static void project(const struct scene_camera *camera, struct scene_object *object)
{
    /* Square root of the mean projected area, over that of the footprint's disc. */
    static const float mean_area[SCENE_SHAPE_COUNT] = {1.0f, 0.977f, 1.177f};
    struct vec3 seen = vec3_sub(object->center, camera->position);
    object->depth = vec3_dot(seen, camera->forward);
    float scale = camera->focal / object->depth;
    object->pixel[0] = 0.5f + scale * vec3_dot(seen, camera->right);
    object->pixel[1] = 0.5f - scale * vec3_dot(seen, camera->up);
    object->pixel_radius = scale * object->radius * mean_area[object->shape];
}

static void draw_object(struct scene_object *object, struct rng *rng)
{
    object->shape = (enum scene_shape)rng_below(rng, SCENE_SHAPE_COUNT);
    object->material = (enum scene_material)rng_below(rng, SCENE_MATERIAL_COUNT);
    object->size = (enum scene_size)rng_below(rng, SCENE_SIZE_COUNT);
    object->color = (int)rng_below(rng, SCENE_COLOR_COUNT);
    object->rotation = draw(rng, 0, 360);
    /* Chosen so that the shapes look about equally large. */
    static const float width[SCENE_SHAPE_COUNT] = {1.0f, 1.02f, 0.88f};
    static const float height[SCENE_SHAPE_COUNT] = {1.0f, 0.70710678f, 0.886f};
    object->radius = object_radius[object->size] * width[object->shape];
    object->half_height = object->radius * height[object->shape];
}

static bool fits(const struct scene *scene, const struct scene_object *object)
{
    float reach = object->pixel_radius * 1.1f + PICTURE_EDGE;
    for (int c = 0; c < 2; c++)
        if (object->pixel[c] < reach || object->pixel[c] > 1 - reach)
            return false;
    for (int i = 0; i < scene->count; i++) {
        const struct scene_object *other = &scene->objects[i];
        float dx = object->center.x - other->center.x, dy = object->center.y - other->center.y;
        float apart = object->radius + other->radius + GAP;
        if (dx * dx + dy * dy < apart * apart)
            return false;
        float u = object->pixel[0] - other->pixel[0], v = object->pixel[1] - other->pixel[1];
        float nearer = object->depth < other->depth ? object->pixel_radius : other->pixel_radius;
        float hidden = HIDING * nearer;
        if (u * u + v * v < hidden * hidden)
            return false;
    }
    return true;
}

static bool place_object(struct scene *scene, struct rng *rng)
{
    struct scene_object object = {0};
    draw_object(&object, rng);
    for (int i = 0; i < PLACE_TRIES; i++) {
        object.center = vec3_of(draw(rng, -PLACE_RANGE, PLACE_RANGE),
                                draw(rng, -PLACE_RANGE, PLACE_RANGE), object.half_height);
        project(&scene->camera, &object);
        if (fits(scene, &object)) {
            scene->objects[scene->count++] = object;
            return true;
        }
    }
    return false;
}

/* A layout that leaves no room is drawn anew: the count stays, so that all counts are equally
 * frequent. */
void scene_make(struct scene *scene, uint64_t seed, uint64_t index)
{
    struct rng rng;
    rng_init(&rng, seed, RNG_SCENE, 0, index);
    *scene = (struct scene){0};
    int count = SCENE_OBJECTS_MIN + (int)rng_below(&rng, SCENE_OBJECTS_MAX - SCENE_OBJECTS_MIN + 1);
    draw_view(scene, &rng);
    while (scene->count < count)
        if (!place_object(scene, &rng))
            scene->count = 0;
}
