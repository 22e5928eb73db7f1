/*
 * One rendered scene: 3 to 10 spheres, cubes and cylinders on a ground plane, seen by a camera like
 * CLEVR's (Johnson et al., "CLEVR: A diagnostic dataset for compositional language and elementary
 * visual reasoning", CVPR 2017).
 *
 * A scene is a pure function of (seed, index). Objects do not overlap, lie within the picture and
 * do not hide each other's centre, so that counting is possible. The world is in CLEVR's units, z
 * upwards.
 */
#ifndef GPU_DATA_SCENE_H
#define GPU_DATA_SCENE_H

#include <stdint.h>

#include "gpu/data/vec3.h"

#define SCENE_OBJECTS_MIN 3
#define SCENE_OBJECTS_MAX 10

enum scene_shape { SCENE_SPHERE, SCENE_CUBE, SCENE_CYLINDER, SCENE_SHAPE_COUNT };
enum scene_material { SCENE_RUBBER, SCENE_METAL, SCENE_MATERIAL_COUNT };
enum scene_size { SCENE_SMALL, SCENE_LARGE, SCENE_SIZE_COUNT };
enum { SCENE_COLOR_COUNT = 8 };

struct scene_object {
    enum scene_shape shape;
    enum scene_material material;
    enum scene_size size;
    int color;
    struct vec3 center;
    float radius;       /* of its footprint; a cube's half side is radius / sqrt(2) */
    float half_height;  /* it stands on the plane */
    float rotation;     /* about z, degrees */
    float pixel[2];     /* centre in the picture, in shares of its side, from the top left */
    float depth;        /* along the view axis */
    float pixel_radius; /* of a disc of the same mean area, in shares of the side */
};

struct scene_camera {
    struct vec3 position, forward, right, up;
    float focal; /* in sides of the picture */
};

struct scene {
    struct scene_camera camera;
    struct vec3 key_light, fill_light; /* positions */
    float ground_tint;
    int count;
    struct scene_object objects[SCENE_OBJECTS_MAX];
};

void scene_make(struct scene *scene, uint64_t seed, uint64_t index);

/* Writes (size, size, 3) RGB. */
void scene_render(const struct scene *scene, uint32_t size, uint8_t *pixels);

/* CLEVR's names; static. */
const char *scene_shape_name(enum scene_shape shape);
const char *scene_material_name(enum scene_material material);
const char *scene_size_name(enum scene_size size);
const char *scene_color_name(int color);
/* sRGB bytes. */
const uint8_t *scene_color_rgb(int color);

#endif
