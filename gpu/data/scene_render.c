/*
 * The ray caster: 2 x 2 samples a pixel, one key light with soft shadows, a fill light and a sky
 * that also darkens where objects stand close to the ground.
 *
 * Objects are tested only where their bounding discs lie in the picture; a shadow ray meets an
 * object's bounding sphere first. Plain float arithmetic in a fixed order: the same build makes
 * the same bytes.
 */
#include <stdbool.h>
#include <stddef.h>

#include "gpu/data/scene.h"

#define SUBSAMPLES   2
#define LIGHT_RADIUS 0.9f
#define FAR          1e30f

/* An object as rays meet it. */
struct solid {
    enum scene_shape shape;
    struct vec3 center, color;
    float radius, half, cosine, sine; /* half: height, and half side of a cube */
    float bound_squared;              /* of its bounding sphere */
    float screen[2], screen_radius;   /* bounding disc in the picture */
    float shine, gloss;               /* strength and exponent of the highlight */
    float mirror;                     /* share of the sky that it reflects */
};

struct stage {
    const struct scene *scene;
    int count;
    struct solid solids[SCENE_OBJECTS_MAX];
    struct vec3 lights[4]; /* points of the key light */
    int light_samples;
};

struct ray {
    struct vec3 origin, direction;
};

struct hit {
    float t;
    const struct solid *solid; /* NULL: the ground */
};

static struct vec3 linear_color(int color)
{
    const uint8_t *rgb = scene_color_rgb(color);
    struct vec3 c = vec3_of((float)rgb[0] / 255, (float)rgb[1] / 255, (float)rgb[2] / 255);
    return vec3_multiply(c, c);
}

static struct solid make_solid(const struct scene *scene, const struct scene_object *object)
{
    float angle = object->rotation * 0.017453293f;
    bool metal = object->material == SCENE_METAL;
    float bound = object->shape == SCENE_CYLINDER ? 2.0f : object->shape == SCENE_CUBE ? 1.5f : 1;
    bound *= object->radius * object->radius;
    float disc = sqrtf(bound) / object->depth * scene->camera.focal;
    return (struct solid){
        .shape = object->shape,
        .center = object->center,
        .color = linear_color(object->color),
        .radius = object->radius,
        .half = object->half_height,
        .cosine = cosf(angle),
        .sine = sinf(angle),
        .bound_squared = bound,
        .screen = {object->pixel[0], object->pixel[1]},
        .screen_radius = disc * 1.25f + 0.01f, /* perspective stretches discs near the edge */
        .shine = metal ? 0.9f : 0.12f,
        .gloss = metal ? 60.0f : 8.0f,
        .mirror = metal ? 0.35f : 0.0f,
    };
}

/* ---- Intersections: distance along the ray, FAR where it misses ------------------------------ */

static float meet_sphere(const struct solid *solid, struct vec3 o, struct vec3 d)
{
    float b = vec3_dot(o, d), c = vec3_dot(o, o) - solid->radius * solid->radius;
    float root = b * b - c;
    if (root < 0)
        return FAR;
    float t = -b - sqrtf(root);
    return t > 1e-3f ? t : FAR;
}

static struct vec3 turned(const struct solid *solid, struct vec3 v)
{
    return vec3_of(solid->cosine * v.x + solid->sine * v.y, solid->cosine * v.y - solid->sine * v.x,
                   v.z);
}

static float meet_cube(const struct solid *solid, struct vec3 o, struct vec3 d)
{
    struct vec3 p = turned(solid, o), q = turned(solid, d);
    const float from[3] = {p.x, p.y, p.z}, along[3] = {q.x, q.y, q.z};
    float enter = -FAR, leave = FAR;
    for (int i = 0; i < 3; i++) {
        float inverse = 1.0f / (fabsf(along[i]) > 1e-9f ? along[i] : 1e-9f);
        float a = (-solid->half - from[i]) * inverse, b = (solid->half - from[i]) * inverse;
        enter = fmaxf(enter, fminf(a, b));
        leave = fminf(leave, fmaxf(a, b));
    }
    return enter <= leave && enter > 1e-3f ? enter : FAR;
}

static float meet_cylinder(const struct solid *solid, struct vec3 o, struct vec3 d)
{
    float a = d.x * d.x + d.y * d.y, b = o.x * d.x + o.y * d.y;
    float c = o.x * o.x + o.y * o.y - solid->radius * solid->radius;
    float root = b * b - a * c;
    if (root < 0 || a < 1e-12f)
        return FAR;
    float t = (-b - sqrtf(root)) / a;
    if (t > 1e-3f && fabsf(o.z + t * d.z) <= solid->half)
        return t;
    t = ((o.z > 0 ? solid->half : -solid->half) - o.z) / d.z; /* the cap that faces the ray */
    float x = o.x + t * d.x, y = o.y + t * d.y;
    return t > 1e-3f && x * x + y * y <= solid->radius * solid->radius ? t : FAR;
}

static float meet(const struct solid *solid, const struct ray *ray)
{
    struct vec3 o = vec3_sub(ray->origin, solid->center);
    float b = vec3_dot(o, ray->direction);
    if (vec3_dot(o, o) - b * b > solid->bound_squared)
        return FAR;
    if (solid->shape == SCENE_SPHERE)
        return meet_sphere(solid, o, ray->direction);
    if (solid->shape == SCENE_CUBE)
        return meet_cube(solid, o, ray->direction);
    return meet_cylinder(solid, o, ray->direction);
}

static struct vec3 normal_at(const struct solid *solid, struct vec3 point)
{
    struct vec3 p = vec3_sub(point, solid->center);
    if (solid->shape == SCENE_SPHERE)
        return vec3_scale(p, 1.0f / solid->radius);
    if (solid->shape == SCENE_CYLINDER) {
        if (fabsf(p.z) > solid->half - 1e-3f)
            return vec3_of(0, 0, p.z > 0 ? 1 : -1);
        return vec3_of(p.x / solid->radius, p.y / solid->radius, 0);
    }
    struct vec3 q = turned(solid, p);
    float x = fabsf(q.x), y = fabsf(q.y), z = fabsf(q.z);
    if (z >= x && z >= y)
        return vec3_of(0, 0, q.z > 0 ? 1 : -1);
    float sx = x > y ? copysignf(1, q.x) : 0, sy = x > y ? 0 : copysignf(1, q.y);
    return vec3_of(solid->cosine * sx - solid->sine * sy, solid->sine * sx + solid->cosine * sy, 0);
}

/* ---- Light ----------------------------------------------------------------------------------- */

static bool is_lit(const struct stage *stage, struct vec3 point, struct vec3 light,
                   const struct solid *self)
{
    struct vec3 way = vec3_sub(light, point);
    struct ray ray = {point, vec3_unit(way)};
    float distance = vec3_dot(way, ray.direction);
    for (int i = 0; i < stage->count; i++)
        if (&stage->solids[i] != self && meet(&stage->solids[i], &ray) < distance)
            return false;
    return true;
}

/* Share of the key light that reaches the point. `sample` picks the light's point where one is
 * enough. */
static float key_share(const struct stage *stage, struct vec3 point, const struct solid *self,
                       int sample)
{
    int lit = 0;
    if (stage->light_samples == 1)
        return is_lit(stage, point, stage->lights[sample], self) ? 1 : 0;
    for (int i = 0; i < stage->light_samples; i++)
        lit += is_lit(stage, point, stage->lights[i], self);
    return (float)lit / (float)stage->light_samples;
}

/* Share of the sky that is open above a point of the ground: each object covers about the solid
 * angle of a sphere. */
static float sky_share(const struct stage *stage, struct vec3 point)
{
    float open = 1;
    for (int i = 0; i < stage->count; i++) {
        struct vec3 way = vec3_sub(stage->solids[i].center, point);
        float squared = vec3_dot(way, way), r = stage->solids[i].radius;
        if (squared < 16 * r * r)
            open *= 1 - fminf(0.8f, way.z * r * r / (squared * sqrtf(squared)));
    }
    return open;
}

static struct vec3 shade_ground(const struct stage *stage, const struct ray *ray, float t,
                                int sample)
{
    struct vec3 point = vec3_add(ray->origin, vec3_scale(ray->direction, t));
    struct vec3 to_key = vec3_unit(vec3_sub(stage->scene->key_light, point));
    point.z = 1e-3f;
    float far = fminf(1.0f, (point.x * point.x + point.y * point.y) / 160.0f);
    float light = 0.24f * sky_share(stage, point) + 0.05f +
                  0.50f * to_key.z * key_share(stage, point, NULL, sample);
    light *= stage->scene->ground_tint * (1.0f - 0.55f * far);
    return vec3_of(light, light * 0.995f, light * 0.98f);
}

static float power(float base, float exponent)
{
    return base > 0 ? expf(exponent * logf(base)) : 0;
}

static struct vec3 shade_solid(const struct stage *stage, const struct ray *ray,
                               const struct hit *hit, int sample)
{
    const struct solid *solid = hit->solid;
    struct vec3 point = vec3_add(ray->origin, vec3_scale(ray->direction, hit->t));
    struct vec3 normal = normal_at(solid, point);
    struct vec3 to_key = vec3_unit(vec3_sub(stage->scene->key_light, point));
    struct vec3 to_fill = vec3_unit(vec3_sub(stage->scene->fill_light, point));
    float facing = vec3_dot(normal, to_key), shadow = 0;
    if (facing > 0)
        shadow = key_share(stage, vec3_add(point, vec3_scale(normal, 2e-3f)), solid, sample);
    float low = fminf(1.0f, 0.55f + 0.45f * point.z / (solid->half + 1e-3f));
    float diffuse = (0.26f + 0.14f * normal.z) * low + 1.15f * fmaxf(0, facing) * shadow +
                    0.20f * fmaxf(0, vec3_dot(normal, to_fill));
    struct vec3 bounced =
        vec3_sub(ray->direction, vec3_scale(normal, 2 * vec3_dot(normal, ray->direction)));
    float sky = bounced.z > 0 ? 0.35f + 0.35f * bounced.z : 0.25f;
    float highlight = solid->shine * shadow * power(vec3_dot(bounced, to_key), solid->gloss);
    struct vec3 color = vec3_scale(solid->color, diffuse * (1 - 0.5f * solid->mirror));
    color = vec3_add(color, vec3_scale(solid->color, sky * solid->mirror));
    return vec3_add(color, vec3_of(highlight, highlight, highlight));
}

/* ---- The picture ----------------------------------------------------------------------------- */

static struct vec3 trace(const struct stage *stage, float u, float v, int sample)
{
    const struct scene_camera *camera = &stage->scene->camera;
    struct vec3 way = vec3_add(vec3_scale(camera->right, (u - 0.5f) / camera->focal),
                               vec3_scale(camera->up, (0.5f - v) / camera->focal));
    struct ray ray = {camera->position, vec3_unit(vec3_add(camera->forward, way))};
    struct hit hit = {FAR, NULL};
    for (int i = 0; i < stage->count; i++) {
        const struct solid *solid = &stage->solids[i];
        float du = u - solid->screen[0], dv = v - solid->screen[1];
        if (du * du + dv * dv > solid->screen_radius * solid->screen_radius)
            continue;
        float t = meet(solid, &ray);
        if (t < hit.t)
            hit = (struct hit){t, solid};
    }
    if (hit.solid)
        return shade_solid(stage, &ray, &hit, sample);
    return shade_ground(stage, &ray, -ray.origin.z / fminf(ray.direction.z, -1e-3f), sample);
}

static uint8_t to_byte(float linear)
{
    float value = sqrtf(fminf(fmaxf(linear, 0), 1)); /* close to sRGB's curve */
    return (uint8_t)(value * 255.0f + 0.5f);
}

static void set_stage(struct stage *stage, const struct scene *scene, uint32_t size)
{
    static const float around[4][2] = {{-0.7f, -0.2f}, {0.2f, -0.7f}, {-0.2f, 0.7f}, {0.7f, 0.2f}};
    stage->scene = scene;
    stage->count = scene->count;
    stage->light_samples = size >= 128 ? 4 : 1;
    for (int i = 0; i < scene->count; i++)
        stage->solids[i] = make_solid(scene, &scene->objects[i]);
    for (int i = 0; i < 4; i++)
        stage->lights[i] =
            vec3_add(scene->key_light,
                     vec3_add(vec3_scale(scene->camera.right, around[i][0] * LIGHT_RADIUS),
                              vec3_scale(scene->camera.forward, around[i][1] * LIGHT_RADIUS)));
}

void scene_render(const struct scene *scene, uint32_t size, uint8_t *pixels)
{
    struct stage stage;
    float step = 1.0f / (float)(size * SUBSAMPLES), share = 1.0f / (SUBSAMPLES * SUBSAMPLES);
    set_stage(&stage, scene, size);
    for (uint32_t y = 0; y < size; y++)
        for (uint32_t x = 0; x < size; x++, pixels += 3) {
            struct vec3 sum = vec3_of(0, 0, 0);
            for (uint32_t i = 0; i < SUBSAMPLES * SUBSAMPLES; i++) {
                float u = ((float)(x * SUBSAMPLES + i % SUBSAMPLES) + 0.5f) * step;
                float v = ((float)(y * SUBSAMPLES + i / SUBSAMPLES) + 0.5f) * step;
                sum = vec3_add(sum, trace(&stage, u, v, (int)i));
            }
            pixels[0] = to_byte(sum.x * share);
            pixels[1] = to_byte(sum.y * share);
            pixels[2] = to_byte(sum.z * share);
        }
}
