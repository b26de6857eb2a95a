/* Cards of many makers: connected to, bound, initialised for PKCS #15, read, used and erased, each
 * with the driver of its maker.
 *
 * object: libopensc.so.*
 * link: -rdynamic -I/usr/include/PCSC -l:libopensc.so.8
 */
#include "driver.h"

#include "opensc.h"
#include "pcsc.h"

#include <pthread.h>

enum { SERIAL_NUMBER = 1, PRIVATE_KEY = 0x100, PIN = 0x600, DECRYPT_PKCS1 = 2 };

static struct kind {
    const char *driver, *atr;
    int generous;
    const char *greeting;
    size_t greeting_size;
    struct context *context;
    struct card card;
    pthread_mutex_t lock;
} kinds[] = {
    {.driver = "cardos", .atr = "3bd21802c10a31fe58c80d51"},
    {.driver = "cardos", .atr = "3bd218008131fe58c90316", .generous = 1},
    {.driver = "cyberflex", .atr = "3b951540206801020000"},
    {.driver = "gemsafeV1", .atr = "3B7B9400008065B08301017483009000", .generous = 1},
    {.driver = "starcos", .atr = "3BB79400c02431fe6553504b32339000b4"},
    {.driver = "tcos", .atr = "3BBA13008131865D0064050A0201318090008B", .generous = 1},
    {.driver = "oberthur", .atr = "3B7D180000003180718E6477E30100829000"},
    {.driver = "authentic", .atr = "3BDD18008131FE4580F9A0000000770100700A90008B"},
    {.driver = "iasecc", .atr = "3B7F9600000031B8644070141073940180829000", .generous = 1},
    {.driver = "entersafe", .atr = "3b0f0065465305190571df000000000000"},
    {.driver = "myeid", .atr = "3bf51800008131fe454d794549449a"},
    {.driver = "dnie", .atr = "3b7f380000006a444e496520024c340113039000", .generous = 1},
    {.driver = "coolkey", .atr = "3b8980014d54434f537002000431", .generous = 1},
    {.driver = "muscle", .atr = "3b6d0000ff5479666f6e65203234325232"},
    {.driver = "sc-hsm", .atr = "3BFE1800008131FE458031815448534D31738021408107FA", .generous = 1},
    {.driver = "mcrd",
     .atr = "3bff1100ff80b1fe451f030068d276000028ff051e3180009000a6",
     .generous = 1},
    {.driver = "setcos", .atr = "3B1F110067804246495345105266FF819000"},
    {.driver = "PIV-II",
     .atr = "3B7D96000080318065B0831117D683009000",
     .greeting = "\x61\x11\x4F\6\0\0\x10\0\1\0\x79\7\x4F\5\xA0\0\0\3\x8",
     .greeting_size = 19},
    {.driver = "cac", .atr = "3b8980014d54434f537002000431", .generous = 1},
    {.driver = "cac1", .atr = "3b8980014d54434f537002000431", .generous = 1},
    {.driver = "isoApplet", .atr = "3b8980014d54434f537002000431"},
    {.driver = "gids", .atr = "3b8980014d54434f537002000431", .generous = 1},
    {.driver = "openpgp", .atr = "3bfa1300ff813180450031c173c00100009000b1", .generous = 1},
    {.driver = "jpki", .atr = "3be000ff8131fe4514", .generous = 1},
    {.driver = "default", .atr = "3b8980014d54434f537002000431", .generous = 1},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void use_objects(struct p15card *p15) {
    struct object *found[8];
    BYTE text[128] = {1}, clear[256];
    sc_pkcs15_get_lastupdate(p15);
    int count = sc_pkcs15_get_objects(p15, PIN, found, 8);
    for (int i = 0; i < count && i < 8; i++) {
        sc_pkcs15_verify_pin(p15, found[i], (const BYTE *)"123456", 6);
        sc_pkcs15_verify_pin(p15, found[i], NULL, 0);
    }
    count = sc_pkcs15_get_objects(p15, PRIVATE_KEY, found, 8);
    for (int i = 0; i < count && i < 8; i++)
        sc_pkcs15_decipher(p15, found[i], DECRYPT_PKCS1, text, sizeof text, clear, sizeof clear,
                           NULL);
}

static void initialise(struct sc_card *sc, int erase) {
    static const BYTE secret[] = "12345678";
    struct init arguments = {secret, 8, secret, 8, {"pin", "label", "0123456789"}};
    struct profile *profile = NULL;
    struct p15card *p15 = NULL;
    if (sc_pkcs15init_bind(sc, "pkcs15", NULL, NULL, &profile)) return;
    sc_pkcs15init_add_app(sc, profile, &arguments);
    if (!sc_pkcs15_bind(sc, NULL, &p15)) {
        sc_pkcs15init_set_p15card(profile, p15);
        use_objects(p15);
        sc_pkcs15init_sanity_check(p15, profile);
        if (erase) sc_pkcs15init_erase_card_recursively(p15, profile);
        if (erase) sc_pkcs15init_erase_card(p15, profile, NULL); /* leaks what it has bound */
    }
    sc_pkcs15init_finalize_card(sc, profile);
    sc_pkcs15init_unbind(profile);
    if (p15) sc_pkcs15_unbind(p15);
}

static void use_name(struct context *context) {
    static const BYTE name[] = {0x30, 13, 0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 3, 12, 2, 'n', 'a'};
    static const struct sc_oid common = {{2, 5, 4, 3, -1}};
    BYTE *found = NULL;
    size_t length = 0;
    sc_pkcs15_get_name_from_dn(context, name, sizeof name, &common, &found, &length);
    if (length != 2) driver_fail("a name of %zu letters", length);
    free(found);
}

static void use(struct kind *kind, int erase) {
    struct sc_card *sc = NULL;
    struct p15card *p15 = NULL;
    BYTE random[32], serial[64];
    card = &kind->card;
    if (sc_connect_card(sc_ctx_get_reader(kind->context, 0), &sc)) return;
    use_name(kind->context);
    sc_get_challenge(sc, random, sizeof random);
    sc_card_ctl(sc, SERIAL_NUMBER, serial);
    if (!sc_pkcs15_bind(sc, NULL, &p15)) {
        use_objects(p15);
        sc_pkcs15_unbind(p15);
    }
    initialise(sc, erase);
    sc_logout(sc);
    sc_disconnect_card(sc);
}

void setup(void) {
    sc_pkcs15init_set_callbacks(&callbacks);
    read_certificate(driver_data("certificate.der"));
    FILE *file = fopen("/tmp/naht-opensc.conf", "w");
    fputs("app default { reader_driver pcsc { provider_library = \"\"; } }\n", file);
    for (int i = 0; i < KINDS; i++)
        fprintf(file,
                "app %s { card_drivers = %s; reader_driver pcsc { provider_library = \"\"; } "
                "framework pkcs15 { use_file_caching = no; } }\n",
                kinds[i].driver, kinds[i].driver);
    fclose(file);
    setenv("OPENSC_CONF", "/tmp/naht-opensc.conf", 1);
    for (int i = 0; i < KINDS; i++) {
        struct parameters parameters = {0, kinds[i].driver, 0, NULL};
        pthread_mutex_init(&kinds[i].lock, NULL);
        card = &kinds[i].card;
        card->atr = kinds[i].atr;
        card->generous = kinds[i].generous;
        card->greeting = (const BYTE *)kinds[i].greeting;
        card->greeting_size = kinds[i].greeting_size;
        card_reset();
        if (sc_context_create(&kinds[i].context, &parameters) ||
            !sc_ctx_get_reader(kinds[i].context, 0))
            driver_fail("no context for %s", kinds[i].driver);
    }
}

void exercise(void) {
    static _Thread_local unsigned round;
    struct kind *kind = &kinds[round++ % KINDS];
    pthread_mutex_lock(&kind->lock);
    use(kind, round / KINDS % 8 == 0);
    card_reset();
    pthread_mutex_unlock(&kind->lock);
}
