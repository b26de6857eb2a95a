/* A realm of its own: a database, a key distribution centre on the loopback interface, a user and a
 * service, whose keys are in files. */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACE "/tmp/naht-krb5"

static const char krb5_conf[] =
    "[libdefaults]\n default_realm = NAHT.TEST\n dns_lookup_kdc = false\n rdns = false\n"
    " dns_canonicalize_hostname = false\n"
    "[realms]\n NAHT.TEST = {\n  kdc = 127.0.0.1:8888\n }\n"
    "[domain_realm]\n localhost = NAHT.TEST\n";
static const char kdc_conf[] =
    "[kdcdefaults]\n kdc_listen = 127.0.0.1:8888\n kdc_tcp_listen = 127.0.0.1:8888\n"
    "[realms]\n NAHT.TEST = {\n  database_name = " PLACE "/principal\n"
    "  key_stash_file = " PLACE "/stash\n  acl_file = " PLACE "/acl\n }\n"
    "[logging]\n kdc = FILE:" PLACE "/kdc.log\n";

static void save(const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, PLACE "/%s", name);
    FILE *file = fopen(path, "w");
    if (file) fputs(text, file), fclose(file);
}

/* 0: the centre runs. */
static int start_realm(void) {
    setenv("KRB5_CONFIG", PLACE "/krb5.conf", 1);
    setenv("KRB5_KDC_PROFILE", PLACE "/kdc.conf", 1);
    setenv("KRB5_KTNAME", "FILE:" PLACE "/service.keys", 1);
    setenv("KRB5_CLIENT_KTNAME", "FILE:" PLACE "/user.keys", 1);
    setenv("KRB5CCNAME", "MEMORY:naht", 1);
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    if (system("rm -rf " PLACE "; mkdir " PLACE)) return 1;
    save("krb5.conf", krb5_conf);
    save("kdc.conf", kdc_conf);
    if (system("{ kdb5_util -r NAHT.TEST create -s -P secret && kadmin.local -r NAHT.TEST addprinc "
               "-randkey host/localhost"
               " && kadmin.local addprinc -randkey user"
               " && kadmin.local ktadd -k " PLACE "/service.keys host/localhost"
               " && kadmin.local ktadd -k " PLACE "/user.keys user && krb5kdc; } >" PLACE
               "/log 2>&1"))
        return 2;
    return 0;
}

/* A session between user and service through this mechanism; 0: established. */
static int establish(gss_OID mechanism, gss_ctx_id_t *user, gss_ctx_id_t *service) {
    gss_buffer_desc text = {14, "host@localhost"}, to_service = GSS_C_EMPTY_BUFFER,
                    to_user = GSS_C_EMPTY_BUFFER;
    gss_name_t name = GSS_C_NO_NAME;
    OM_uint32 minor, first = GSS_S_CONTINUE_NEEDED, second = GSS_S_CONTINUE_NEEDED,
                     flags = GSS_C_MUTUAL_FLAG | GSS_C_CONF_FLAG;
    *user = *service = GSS_C_NO_CONTEXT;
    gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &name);
    for (int i = 0; i < 6 && (first | second) == GSS_S_CONTINUE_NEEDED; i++) {
        if (first == GSS_S_CONTINUE_NEEDED)
            first = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, user, name, mechanism, flags,
                                         0, GSS_C_NO_CHANNEL_BINDINGS, &to_user, NULL, &to_service,
                                         NULL, NULL);
        gss_release_buffer(&minor, &to_user);
        if (to_service.length)
            second = gss_accept_sec_context(&minor, service, GSS_C_NO_CREDENTIAL, &to_service,
                                            GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL, &to_user, NULL,
                                            NULL, NULL);
        gss_release_buffer(&minor, &to_service);
    }
    gss_release_buffer(&minor, &to_user);
    gss_release_name(&minor, &name);
    return (int)(first | second);
}

static void leave(gss_ctx_id_t *user, gss_ctx_id_t *service) {
    OM_uint32 minor;
    gss_delete_sec_context(&minor, user, GSS_C_NO_BUFFER);
    gss_delete_sec_context(&minor, service, GSS_C_NO_BUFFER);
}
