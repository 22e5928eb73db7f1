/* SHA-256: the examples of FIPS 180-4. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/hash.h"

static void check(const char *text, const char *expected)
{
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    hash_bytes(text, strlen(text), digest);
    hash_hex(digest, hex);
    cr_assert_str_eq(hex, expected);
}

Test(hash, published_examples)
{
    check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

Test(hash, in_parts_as_in_one)
{
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    struct hash hash;
    hash_init(&hash);
    for (int i = 0; i < 1000000 / 50; i++)
        hash_update(&hash, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50);
    hash_final(&hash, digest);
    hash_hex(digest, hex);
    cr_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
