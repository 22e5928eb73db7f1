/* Three floats and what the ray caster does with them. */
#ifndef GPU_DATA_VEC3_H
#define GPU_DATA_VEC3_H

#include <math.h>

struct vec3 {
    float x, y, z;
};

static inline struct vec3 vec3_of(float x, float y, float z)
{
    return (struct vec3){x, y, z};
}
static inline struct vec3 vec3_add(struct vec3 a, struct vec3 b)
{
    return vec3_of(a.x + b.x, a.y + b.y, a.z + b.z);
}
static inline struct vec3 vec3_sub(struct vec3 a, struct vec3 b)
{
    return vec3_of(a.x - b.x, a.y - b.y, a.z - b.z);
}
static inline struct vec3 vec3_scale(struct vec3 a, float s)
{
    return vec3_of(a.x * s, a.y * s, a.z * s);
}
static inline struct vec3 vec3_multiply(struct vec3 a, struct vec3 b)
{
    return vec3_of(a.x * b.x, a.y * b.y, a.z * b.z);
}
static inline float vec3_dot(struct vec3 a, struct vec3 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static inline struct vec3 vec3_cross(struct vec3 a, struct vec3 b)
{
    return vec3_of(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}
static inline struct vec3 vec3_unit(struct vec3 a)
{
    return vec3_scale(a, 1.0f / sqrtf(vec3_dot(a, a)));
}

#endif
