/* jinja_form.h: a chat template in a form that only differs where its output can differ, and
 * patterns over it. */
#ifndef MSA_MODEL_JINJA_FORM_H
#define MSA_MODEL_JINJA_FORM_H

#include "base/bytes.h"

/* Appends the canonical form: no comments; white space gone where Jinja (with trim_blocks and
 * lstrip_blocks, as transformers sets them) does not print it; one kind of quotes, written \1;
 * escapes resolved; x['name'] as x.name; 'a' + 'b' as 'ab'. An unfinished tag is kept as it is. */
void jinja_form(bytes *out, const char *text, size_t n);

/* What lay in the holes of a pattern; NULL for one the pattern does not have. */
typedef struct jinja_holes {
    const char *system, *prompt; /* point into the form */
    size_t n_system, n_prompt;
} jinja_holes;

/* Whether the form is that of `pattern`, the form of a template with holes: %S (system message) and
 * %P (generation prompt) stand for any text without a quote, %* for anything. */
bool jinja_form_matches(const bytes *form, const bytes *pattern, jinja_holes *holes);

#endif
