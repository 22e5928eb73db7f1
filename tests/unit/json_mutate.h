/* Every member of a JSON document in turn missing or of another kind: what a parser must refuse or
 * take, but never believe or crash over. */
#ifndef TESTS_UNIT_JSON_MUTATE_H
#define TESTS_UNIT_JSON_MUTATE_H

#include <criterion/criterion.h>
#include <jansson.h>

typedef void (*json_mutate_try)(void *user, const json_t *document);

static const char *const json_mutate_values[] = {
    "null", "true",  "false",  "-1", "0",      "1.5", "1e300", "9223372036854775807",
    "\"\"", "\"x\"", "[true]", "[]", "[1, 2]", "{}"};
#define JSON_MUTATE_COUNT (sizeof json_mutate_values / sizeof *json_mutate_values)

static inline void json_mutate_node(json_t *root, json_t *node, json_mutate_try try, void *user);

static inline void json_mutate_member(json_t *root, json_t *object, const char *key,
                                      json_mutate_try try, void *user)
{
    json_t *old = json_incref(json_object_get(object, key));
    for (size_t i = 0; i < JSON_MUTATE_COUNT; i++) {
        json_object_set_new(object, key, json_loads(json_mutate_values[i], JSON_DECODE_ANY, NULL));
        try(user, root);
    }
    json_object_del(object, key);
    try(user, root);
    json_object_set(object, key, old);
    json_mutate_node(root, old, try, user);
    json_decref(old);
}

static inline void json_mutate_item(json_t *root, json_t *array, size_t at, json_mutate_try try,
                                    void *user)
{
    json_t *old = json_incref(json_array_get(array, at));
    for (size_t i = 0; i < JSON_MUTATE_COUNT; i++) {
        json_array_set_new(array, at, json_loads(json_mutate_values[i], JSON_DECODE_ANY, NULL));
        try(user, root);
    }
    json_array_set(array, at, old);
    json_mutate_node(root, old, try, user);
    json_decref(old);
}

static inline void json_mutate_node(json_t *root, json_t *node, json_mutate_try try, void *user)
{
    const char *keys[256], *key;
    size_t count = 0;
    json_t *value;
    if (json_is_object(node))
        json_object_foreach(node, key, value)
        {
            cr_assert_lt(count, 256);
            keys[count++] = strdup(key);
        }
    for (size_t i = 0; i < count; i++) {
        json_mutate_member(root, node, keys[i], try, user);
        free((void *)keys[i]);
    }
    for (size_t i = 0; json_is_array(node) && i < json_array_size(node); i++)
        json_mutate_item(root, node, i, try, user);
}

/* Calls `try` with each variant of `root`, which is as before afterwards. */
static inline void json_mutate(json_t *root, json_mutate_try try, void *user)
{
    json_mutate_node(root, root, try, user);
}

#endif
