/* The part of PKCS #11 that the drivers use, and a token with keys on the card of pcsc.h. */
#define CARD_STORAGE
#include "opensc.h"
#include "pcsc.h"

typedef unsigned long CK;
struct attribute {
    CK type;
    const void *value;
    CK length;
};
struct mechanism {
    CK type;
    void *parameter;
    CK length;
};
struct start {
    void *mutexes[4];
    CK flags;
    void *reserved;
};
CK C_Initialize(struct start *);
CK C_GetSlotList(BYTE, CK *, CK *);
CK C_GetTokenInfo(CK, void *);
CK C_GetMechanismList(CK, CK *, CK *);
CK C_OpenSession(CK, CK, void *, void *, CK *);
CK C_CloseSession(CK);
CK C_Login(CK, CK, const char *, CK);
CK C_CreateObject(CK, struct attribute *, CK, CK *);
CK C_DestroyObject(CK, CK);
CK C_GetAttributeValue(CK, CK, struct attribute *, CK);
CK C_FindObjectsInit(CK, struct attribute *, CK);
CK C_FindObjects(CK, CK *, CK, CK *);
CK C_FindObjectsFinal(CK);
CK C_EncryptInit(CK, struct mechanism *, CK);
CK C_Encrypt(CK, const BYTE *, CK, BYTE *, CK *);
CK C_DecryptInit(CK, struct mechanism *, CK);
CK C_Decrypt(CK, const BYTE *, CK, BYTE *, CK *);
CK C_DecryptUpdate(CK, const BYTE *, CK, BYTE *, CK *);
CK C_DecryptFinal(CK, BYTE *, CK *);
CK C_SignInit(CK, struct mechanism *, CK);
CK C_Sign(CK, const BYTE *, CK, BYTE *, CK *);
CK C_GenerateKeyPair(CK, struct mechanism *, struct attribute *, CK, struct attribute *, CK, CK *,
                     CK *);
CK C_GenerateRandom(CK, BYTE *, CK);

enum {
    CLASS = 0,
    TOKEN = 1,
    PRIVATE = 2,
    LABEL = 3,
    VALUE = 0x11,
    KEY_TYPE = 0x100,
    ID = 0x102,
    SENSITIVE = 0x103,
    ENCRYPT = 0x104,
    DECRYPT = 0x105,
    SIGN = 0x108,
    MODULUS_BITS = 0x121,
    EXPONENT = 0x122,
    VALUE_LENGTH = 0x161
};
enum { RSA_GENERATE = 0, RSA_PKCS = 1, RSA_RAW = 3, AES_CBC = 0x1082, AES_CBC_PAD = 0x1085 };

static CK slot, rsa_private, aes_key;
static const CK class_secret = 4, aes = 0x1F, bits = 1024, key_length = 16;
static const BYTE yes = 1, id[] = {7}, exponent[] = {1, 0, 1}, secret[16] = {1, 2, 3};

static inline CK session(void) {
    CK opened = 0;
    C_OpenSession(slot, 4 | 2, NULL, NULL, &opened);
    return opened;
}

static inline int initialise_card(void) {
    static const BYTE pin[] = "12345678";
    struct parameters parameters = {0, "setup", 0, NULL};
    struct init arguments = {pin, 8, pin, 8, {"pin", "label", "0123456789"}};
    struct context *context;
    struct sc_card *sc;
    struct profile *profile;
    struct p15card *p15;
    struct pin user = {{{1}, 1}, "user", pin, 8, {{0}, 0}, "puk", pin, 8};
    sc_pkcs15init_set_callbacks(&callbacks);
    if (sc_context_create(&context, &parameters)) return 1;
    if (sc_connect_card(sc_ctx_get_reader(context, 0), &sc)) return 2;
    if (sc_pkcs15init_bind(sc, "pkcs15", NULL, NULL, &profile)) return 3;
    if (sc_pkcs15init_add_app(sc, profile, &arguments) < 0) return 4;
    if (sc_pkcs15_bind(sc, NULL, &p15)) return 5;
    sc_pkcs15init_set_p15card(profile, p15);
    int result = sc_pkcs15init_store_pin(p15, profile, &user);
    sc_pkcs15init_unbind(profile);
    sc_pkcs15_unbind(p15);
    sc_disconnect_card(sc);
    sc_release_context(context);
    return result < 0 ? 6 : 0;
}

/* The step that failed; 0: the token has an RSA and an AES key, and its user is logged in. */
static inline int make_token(void) {
    static struct card only = {.atr = "3bf51800008131fe454d794549449a"};
    struct start locking = {.flags = 2};
    CK count = 1, opened, public_key;
    struct mechanism generate = {RSA_GENERATE, NULL, 0};
    struct attribute public_part[] = {{TOKEN, &yes, 1},
                                      {MODULUS_BITS, &bits, sizeof bits},
                                      {EXPONENT, exponent, 3},
                                      {ID, id, 1},
                                      {ENCRYPT, &yes, 1}};
    struct attribute private_part[] = {{TOKEN, &yes, 1}, {ID, id, 1},          {DECRYPT, &yes, 1},
                                       {SIGN, &yes, 1},  {SENSITIVE, &yes, 1}, {PRIVATE, &yes, 1}};
    struct attribute secret_key[] = {{CLASS, &class_secret, sizeof(CK)},
                                     {KEY_TYPE, &aes, sizeof(CK)},
                                     {TOKEN, &yes, 1},
                                     {VALUE, secret, 16},
                                     {ENCRYPT, &yes, 1},
                                     {DECRYPT, &yes, 1},
                                     {ID, "\x09", 1},
                                     {VALUE_LENGTH, &key_length, sizeof(CK)}};
    card = &only;
    card_reset();
    FILE *file = fopen("/tmp/naht-opensc.conf", "w");
    fputs("app default { reader_driver pcsc { provider_library = \"\"; }\n"
          "card_driver myeid { disable_hw_pkcs1_padding = 1; }\n"
          "framework pkcs15 { use_file_caching = no; use_pin_caching = no; } }\n",
          file);
    fclose(file);
    setenv("OPENSC_CONF", "/tmp/naht-opensc.conf", 1);
    if (initialise_card()) return 1;
    if (C_Initialize(&locking)) return 2;
    if (C_GetSlotList(1, &slot, &count)) return 4;
    if (!(opened = session())) return 5;
    if (C_Login(opened, 1, "12345678", 8)) return 8;
    if (C_GenerateKeyPair(opened, &generate, public_part, 5, private_part, 6, &public_key,
                          &rsa_private))
        return 9;
    if (C_CreateObject(opened, secret_key, 8, &aes_key)) return 10;
    return 0; /* the session stays open, so the user stays logged in */
}
