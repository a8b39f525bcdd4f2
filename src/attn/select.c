/* select.c: the running top-k, and rows of block scores through it. */
#include "attn/select.h"

#include "attn/kernels.h"
#include "base/error.h"

#define CHUNK 512 /* scores compared with one bar */

void select_list_start(select_list *list, uint64_t *keys, int32_t want) {
    *list = (select_list){.keys = keys, .want = want, .capacity = select_capacity(want)};
    if (want == 0) list->bar = UINT64_MAX;
}

static inline void swap(uint64_t *a, uint64_t *b) {
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

/* Moves the keys above a pivot, the median of three of them, to the front and the pivot behind
 * them; returns its place. No branch hangs on a comparison, which nobody could predict. */
static int32_t partition(uint64_t *keys, int32_t n) {
    uint64_t *middle = keys + n / 2, *last = keys + n - 1;
    if (*keys > *middle) swap(keys, middle);
    if (*middle < *last) swap(middle, last); /* the greater two are now in front and behind */
    if (*keys > *last) swap(keys, last);
    uint64_t pivot = *last;
    int32_t above = 0;
    for (int32_t i = 0; i < n - 1; i++) {
        uint64_t key = keys[i];
        keys[i] = keys[above];
        keys[above] = key;
        above += key > pivot;
    }
    swap(keys + above, last);
    return above;
}

void select_list_cut(select_list *list) {
    uint64_t *keys = list->keys;
    int32_t low = 0, high = list->n, want = list->want;
    if (high <= want) return;
    while (low < high) {
        int32_t at = low + partition(keys + low, high - low);
        if (at == want || at + 1 == want) break;
        if (at > want)
            high = at;
        else
            low = at + 1;
    }
    list->n = want;
    list->bar = UINT64_MAX;
    for (int32_t i = 0; i < want; i++)
        if (keys[i] < list->bar) list->bar = keys[i];
}

/* Raises the bar to a score, *floor, that `want` of the scores reach: they win against any later
 * block of that score. False, the bar as it was, if it lies higher already. */
static bool raise_bar(select_list *list, const float *scores, int64_t n, float *floor) {
    *floor = attn_kernels_get()->select_floor(scores, n, list->want);
    uint64_t bar = select_key(*floor, -1);
    if (*floor == -INFINITY || bar <= list->bar) return false;
    list->bar = bar;
    return true;
}

/* Almost no score passes a good bar, and the first look at a long row gives one. Later few of a
 * chunk pass most of the time; where many do, as in an ascending row, pushing them one by one would
 * cut the buffer again and again: the bar is raised first. While it rests on scores that are still
 * to be pushed, those that equal it pass. */
void select_list_offer(select_list *list, const float *scores, int32_t n, int32_t first_id) {
    select_above_fn *select_above = attn_kernels_get()->select_above;
    int32_t places[CHUNK];
    uint64_t ahead = UINT64_MAX;
    float floor;
    if (list->want > 0 && !list->bar && n > CHUNK && raise_bar(list, scores, n, &floor))
        ahead = list->bar;
    for (int32_t i = 0, m; i < n && list->want > 0; i += m) {
        m = n - i < CHUNK ? n - i : CHUNK;
        int32_t found = m;
        if (list->bar) {
            float above = select_key_score(list->bar);
            if (list->bar == ahead) above = nextafterf(above, -INFINITY);
            found = select_above(scores + i, m, above, places);
        }
        if (found > 2 * list->want && raise_bar(list, scores + i, m, &floor))
            found = select_above(scores + i, m, nextafterf(floor, -INFINITY), places);
        else if (!list->bar)
            for (int32_t j = 0; j < m; j++) places[j] = j;
        for (int32_t j = 0; j < found; j++)
            select_list_push(list, select_key(scores[i + places[j]], first_id + i + places[j]));
    }
}

static void sort_ids(int32_t *ids, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        int32_t id = ids[i], j = i;
        for (; j > 0 && ids[j - 1] > id; j--) ids[j] = ids[j - 1];
        ids[j] = id;
    }
}

static void sort_keys_descending(uint64_t *keys, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        int32_t j = i;
        for (; j > 0 && keys[j - 1] < key; j--) keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

static int32_t *write_run(int32_t *ids, int32_t first, int32_t end) {
    while (first < end) *ids++ = first++;
    return ids;
}

static int32_t *write_chosen(int32_t *ids, const select_range *range, select_list *list,
                             bool by_score) {
    if (!list) return write_run(ids, range->first, range->end);
    select_list_cut(list);
    if (by_score) sort_keys_descending(list->keys, list->n);
    for (int32_t i = 0; i < list->n; i++) ids[i] = select_key_id(list->keys[i]);
    if (!by_score) sort_ids(ids, list->n);
    return ids + list->n;
}

void select_write(const msa_shape *shape, const select_range *range, select_list *list,
                  msa_list_order order, int32_t *ids) {
    int32_t *end = ids + shape->topk;
    if (order == MSA_ASCENDING) {
        ids = write_run(ids, 0, range->first);
        ids = write_chosen(ids, range, list, false);
        ids = write_run(ids, range->end, range->n_visible);
    } else if (order == MSA_LOCAL_LAST) {
        ids = write_chosen(ids, range, list, false);
        ids = write_run(ids, 0, range->first);
        ids = write_run(ids, range->end, range->n_visible);
    } else {
        for (int32_t id = range->n_visible - 1; id >= range->end; id--) *ids++ = id;
        ids = write_run(ids, 0, range->first);
        ids = write_chosen(ids, range, list, true);
    }
    while (ids < end) *ids++ = -1;
}

msa_status select_check_order(msa_list_order order, const char *name, msa_error *err) {
    if ((int)order >= 0 && order <= MSA_SCORE_DESC) return MSA_OK;
    return error_set(err, MSA_E_ARG, "%s is %d; expected an msa_list_order", name, (int)order);
}

static msa_status check_rows(const msa_shape *shape, int64_t n_rows, const int64_t *position,
                             const float *scores, int64_t stride, const int32_t *ids,
                             msa_error *err) {
    if (n_rows < 0)
        return error_set(err, MSA_E_ARG, "n_rows is %lld; expected 0 or more", (long long)n_rows);
    if (n_rows == 0) return MSA_OK;
    if (!position || !scores || !ids)
        return error_set(err, MSA_E_ARG, "%s is NULL",
                         !position ? "position"
                         : !scores ? "scores"
                                   : "ids");
    for (int64_t r = 0; r < n_rows; r++) {
        int64_t own = position[r] / shape->block;
        if (position[r] < 0 || own >= INT32_MAX)
            return error_set(err, MSA_E_ARG, "position[%lld] is %lld; expected 0 to %lld",
                             (long long)r, (long long)position[r],
                             (long long)INT32_MAX * shape->block - 1);
        if (own >= stride)
            return error_set(
                err, MSA_E_ARG, "stride is %lld; row %lld, position %lld, has %lld visible blocks",
                (long long)stride, (long long)r, (long long)position[r], (long long)own + 1);
    }
    return MSA_OK;
}

void select_row(const msa_shape *shape, int64_t position, const float *scores, msa_list_order order,
                int32_t *ids) {
    uint64_t keys[4 * SELECT_MAX_K];
    select_range range = select_range_at(shape, position);
    if (select_takes_all(&range) && order != MSA_SCORE_DESC) {
        select_write(shape, &range, NULL, order, ids);
        return;
    }
    select_list list;
    select_list_start(&list, keys, range.want);
    select_list_offer(&list, scores + range.first, range.end - range.first, range.first);
    select_write(shape, &range, &list, order, ids);
}

msa_status msa_select_run(const msa_shape *shape, int64_t n_rows, const int64_t *position,
                          const float *scores, int64_t stride, msa_list_order order, int32_t *ids,
                          msa_error *err) {
    msa_status status;
    if ((status = msa_shape_check(shape, err)) ||
        (status = select_check_order(order, "order", err)) ||
        (status = check_rows(shape, n_rows, position, scores, stride, ids, err)))
        return status;
#pragma omp parallel for schedule(dynamic, 16) if (n_rows > 64)
    for (int64_t r = 0; r < n_rows; r++)
        select_row(shape, position[r], scores + r * stride, order, ids + r * shape->topk);
    return MSA_OK;
}
