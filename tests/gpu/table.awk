# The readable table of a run: awk -f table.awk machine.jsonl stages.log step_*.jsonl peer_*.jsonl kernels_*.jsonl
# curves.jsonl. Each file holds flat JSON objects, one per line.

function field(key,   at) {
    if (!match($0, "\"" key "\":(\"[^\"]*\"|[-0-9.e+]+)"))
        return ""
    at = RSTART + length(key) + 3
    at = substr($0, at, RLENGTH - length(key) - 3)
    gsub(/^"|"$/, "", at)
    return at
}
function part(name, head) {
    if (seen[name]++)
        return
    print ""
    print head
}
function number(text, factor, digits) {
    return text == "" ? "-" : sprintf("%." digits "f", text * factor)
}

/"machine":/ {
    count = split("gpu machine cores torch build cublaslt", keys, " ")
    for (i = 1; i <= count; i++)
        printf "%-9s %s\n", keys[i], field(keys[i])
}
/"stage":/ {
    part("stages", sprintf("%-28s %-8s %5s  %s", "stage", "status", "s", "note"))
    printf "%-28s %-8s %5s  %s\n", field("stage"), field("status"), field("seconds"), field("note")
}
/"images_per_s":/ {
    part("steps", sprintf("%-12s %6s %-9s %-7s %-5s %-8s %10s %9s %12s %8s %6s %9s", "model", "batch", "precision", "target",
                          "gelu", "program", "images/s", "step_ms", "input_first", "TFLOP/s", "peak%", "plan_off"))
    program = field("mode") == "" ? "ijepad" : field("mode")
    seconds = field("median") == "" ? field("step_s") : field("median")
    target = field("target_precision") == "" ? "-" : field("target_precision")
    batch = field("batch") (field("accumulate") > 1 ? "x" field("accumulate") : "")
    gelu = field("gelu") == "" ? "erf" : field("gelu") # the peer has no other
    printf "%-12s %6s %-9s %-7s %-5s %-8s %10s %9s %12s %8s %6s %9s\n", field("model"), batch, field("precision"),
        target, gelu, program, number(field("images_per_s"), 1, 1), number(seconds, 1000, 2),
        number(field("input_first_s"), 1000, 2), number(field("gflops"), 0.001, 1),
        number(field("share_of_peak"), 100, 1), field("plan_off") == "" ? "-" : field("plan_off")
}
/"ceiling":/ {
    print ""
    printf "ceilings: %s TFLOP/s, %s GB/s; batch %s, %s context and %s target patches, %s, GELU %s\n",
        number(field("gflops"), 0.001, 1), number(field("gbytes_s"), 1, 0), field("batch"), field("context"),
        field("targets"), field("precision"), field("gelu")
    printf "%-34s %-10s %8s %6s %11s %8s %9s %-9s %6s\n", "operation", "place", "rows", "width", "us", "TFLOP/s",
        "GB/s", "bound", "share"
}
/"op":/ {
    printf "%-34s %-10s %8s %6s %11s %8s %9s %-9s %5s%%\n", field("op"), field("place"), field("rows"), field("width"),
        field("us"), number(field("gflops"), 0.001, 2), number(field("gbytes_s"), 1, 1), field("bound"),
        number(field("share_of_ceiling"), 100, 1)
}
/"curve":/ {
    part("curves", "loss curves")
    printf "%-44s %4s steps, mean difference %s, last fifth %s\n", field("curve"), field("steps"),
        field("mean_difference"), field("last_fifth")
}
