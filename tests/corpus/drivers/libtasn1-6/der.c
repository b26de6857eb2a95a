/* Defines types, encodes values and decodes them again: sequences of many elements, choices, sets.
 *
 * object: libtasn1.so.6*
 * link: -ltasn1
 */
#include "driver.h"

#include <libtasn1.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char definitions[] =
    "NAHT { }\nDEFINITIONS IMPLICIT TAGS ::=\nBEGIN\n"
    "Numbers ::= SEQUENCE OF INTEGER\n"
    "Names ::= SET OF Name\n"
    "Name ::= SEQUENCE { kind OBJECT IDENTIFIER, text Text }\n"
    "Text ::= CHOICE { plain PrintableString, bytes OCTET STRING, utf UTF8String }\n"
    "All ::= SEQUENCE { version [0] EXPLICIT INTEGER DEFAULT 1, numbers Numbers, names Names,\n"
    "  flags BIT STRING OPTIONAL, when GeneralizedTime OPTIONAL }\nEND\n";
enum { ELEMENTS = 150 };
static asn1_node types;

static int fill(asn1_node value) {
    char name[64], number[8];
    int bad = 0;
    bad |= asn1_write_value(value, "version", "2", 1);
    for (int i = 0; i < ELEMENTS; i++) {
        snprintf(number, sizeof number, "%d", i * 31);
        bad |= asn1_write_value(value, "numbers", "NEW", 1);
        bad |= asn1_write_value(value, "numbers.?LAST", number, 0);
    }
    for (int i = 0; i < 3; i++) {
        static const char *const kinds[] = {"plain", "bytes", "utf"};
        bad |= asn1_write_value(value, "names", "NEW", 1);
        bad |= asn1_write_value(value, "names.?LAST.kind", "1.2.840.113549.1.1", 1);
        bad |= asn1_write_value(value, "names.?LAST.text", kinds[i], 1);
        snprintf(name, sizeof name, "names.?LAST.text.%s", kinds[i]);
        bad |= asn1_write_value(value, name, "abcdef", 6);
    }
    bad |= asn1_write_value(value, "flags", "\xF0", 5);
    bad |= asn1_write_value(value, "when", "20240101000000Z", 0);
    return bad;
}

static int check(asn1_node value) {
    char name[32], number[16];
    int count = 0, bad = asn1_number_of_elements(value, "numbers", &count);
    for (int i = 1; i <= ELEMENTS; i++) {
        int size = sizeof number;
        snprintf(name, sizeof name, "numbers.?%d", i);
        bad |= asn1_read_value(value, name, number, &size);
    }
    int size = sizeof number;
    bad |= asn1_delete_element(value, "numbers.?40");
    bad |= asn1_delete_element(value, "numbers.?120");
    bad |= asn1_read_value(value, "numbers.?5", number, &size);
    size = sizeof number;
    bad |= asn1_read_value(value, "numbers.?130", number, &size);
    size = sizeof number;
    bad |= asn1_read_value(value, "numbers.?120", number, &size) != ASN1_ELEMENT_NOT_FOUND;
    return bad || count != ELEMENTS;
}

void setup(void) {
    char error[ASN1_MAX_ERROR_DESCRIPTION_SIZE];
    FILE *file = fopen("/tmp/naht.asn", "w");
    if (!file || fputs(definitions, file) < 0 || fclose(file) ||
        asn1_parser2tree("/tmp/naht.asn", &types, error) != ASN1_SUCCESS)
        driver_fail("no types");
}

void exercise(void) {
    asn1_node value = NULL, again = NULL;
    unsigned char der[2048];
    char error[ASN1_MAX_ERROR_DESCRIPTION_SIZE];
    int size = sizeof der;
    int made = asn1_create_element(types, "NAHT.All", &value), filled = fill(value),
        coded = asn1_der_coding(value, "", der, &size, error);
    asn1_create_element(types, "NAHT.All", &again);
    int decoded = asn1_der_decoding2(&again, der, &size, ASN1_DECODE_FLAG_STRICT_DER, error);
    if (made || filled || coded || decoded || check(again))
        driver_fail("a value is not read back: %d %d %d %d", made, filled, coded, decoded);
    asn1_delete_element(again, "names.?2");
    asn1_delete_structure(&again);
    der[5] ^= 0x55;
    if (!asn1_create_element(types, "NAHT.All", &again))
        asn1_der_decoding(&again, der, size, error);
    asn1_delete_structure(&again);
    asn1_delete_structure(&value);
}
