/* config_reader.c: see config_reader.h. */
#include "model/config_reader.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

config_shown config_show(const json_t *value) {
    config_shown s = {"missing"};
    if (json_is_string(value))
        utf8_quote(s.text, sizeof s.text, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        snprintf(s.text, sizeof s.text, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(s.text, sizeof s.text, "%g", json_real_value(value));
    else if (value)
        strcpy(s.text, json_is_boolean(value)  ? (json_is_true(value) ? "true" : "false")
                       : json_is_array(value)  ? "a list"
                       : json_is_object(value) ? "an object"
                                               : "null");
    return s;
}

const json_t *config_get(const config_reader *r, const char *key) {
    const json_t *value = json_object_get(r->object, key);
    return json_is_null(value) ? NULL : value;
}

msa_status config_refuse(const config_reader *r, const char *key, const char *expected) {
    const json_t *value = config_get(r, key);
    return error_set(r->err, MSA_E_FORMAT, "key '%s%s' is %s; expected %s", r->where, key,
                     config_show(value).text, expected);
}

msa_status config_unsupported(const config_reader *r, const char *key, const char *supported) {
    return error_set(r->err, MSA_E_UNSUPPORTED, "key '%s%s' is %s; supported is %s", r->where, key,
                     config_show(config_get(r, key)).text, supported);
}

msa_status config_count(const config_reader *r, const char *key, int32_t least, int64_t otherwise,
                        int32_t *out) {
    const json_t *value = config_get(r, key);
    json_int_t n = value ? json_integer_value(value) : otherwise;
    char expected[48];
    snprintf(expected, sizeof expected, "a whole number of %d to 2147483647", least);
    if ((value && !json_is_integer(value)) || n < least || n > INT32_MAX)
        return config_refuse(r, key, expected);
    *out = (int32_t)n;
    return MSA_OK;
}

msa_status config_positive(const config_reader *r, const char *key, double otherwise, double *out) {
    const json_t *value = config_get(r, key);
    *out = value ? json_number_value(value) : otherwise;
    if ((value && !json_is_number(value)) || !((float)*out > 0) || !isfinite((float)*out))
        return config_refuse(r, key, "a number above 0");
    return MSA_OK;
}

msa_status config_bool(const config_reader *r, const char *key, bool otherwise, bool *out) {
    const json_t *value = config_get(r, key);
    if (value && !json_is_boolean(value)) return config_refuse(r, key, "true or false");
    *out = value ? json_is_true(value) : otherwise;
    return MSA_OK;
}

msa_status config_demand_bool(const config_reader *r, const char *key, bool demanded) {
    bool value;
    msa_status status = config_bool(r, key, demanded, &value);
    if (status != MSA_OK || value == demanded) return status;
    return config_unsupported(r, key, demanded ? "true" : "false");
}

msa_status config_demand_text(const config_reader *r, const char *key, const char *one,
                              const char *other) {
    const json_t *value = config_get(r, key);
    const char *text = json_string_value(value);
    if (!value || (text && (strcmp(text, one) == 0 || (other && strcmp(text, other) == 0))))
        return MSA_OK;
    char expected[96];
    snprintf(expected, sizeof expected, "'%s'%s%s%s", one, other ? " or '" : "", other ? other : "",
             other ? "'" : "");
    return config_unsupported(r, key, expected);
}
