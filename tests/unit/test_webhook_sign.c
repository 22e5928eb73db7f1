/* Signatures of webhooks: the example of the public scheme, new secrets, damaged ones. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/webhook_sign.h"

/* The worked example of the Standard Webhooks specification. */
Test(webhook_sign, example_of_the_specification)
{
    char signature[WEBHOOK_SIGN_SIZE];
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(webhook_sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                              "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}",
                              signature, &err),
                 IJ_OK, "%s", err.text);
    cr_assert_str_eq(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

Test(webhook_sign, new_secrets_differ_and_sign)
{
    char a[WEBHOOK_SIGN_SECRET_SIZE], b[WEBHOOK_SIGN_SECRET_SIZE];
    char one[WEBHOOK_SIGN_SIZE], two[WEBHOOK_SIGN_SIZE];
    cr_assert_eq(webhook_sign_new_secret(a, NULL), IJ_OK);
    cr_assert_eq(webhook_sign_new_secret(b, NULL), IJ_OK);
    cr_assert_eq(strlen(a), WEBHOOK_SIGN_SECRET_SIZE - 1);
    cr_assert_str_neq(a, b);
    cr_assert_eq(webhook_sign(a, "d1", 1, "{}", one, NULL), IJ_OK);
    cr_assert_eq(webhook_sign(b, "d1", 1, "{}", two, NULL), IJ_OK);
    cr_assert_str_neq(one, two);
    cr_assert_eq(webhook_sign(a, "d1", 2, "{}", two, NULL), IJ_OK);
    cr_assert_str_neq(one, two, "the time is signed");
    cr_assert_eq(webhook_sign(a, "d2", 1, "{}", two, NULL), IJ_OK);
    cr_assert_str_neq(one, two, "the id is signed");
}

Test(webhook_sign, damaged_secrets)
{
    static const char *const bad[] = {
        "",
        "whsec_",
        "whsec_!!!!",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLQ==", /* 22 bytes */
        "whsec_"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };
    char signature[WEBHOOK_SIGN_SIZE];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(webhook_sign(bad[i], "d1", 1, "{}", signature, NULL), IJ_CORRUPT, "%s",
                     bad[i]);
}
