// The control plane itself, and what it has published.
#include <array>

#include "controlplane/server/metrics.h"

namespace shunt::controlplane {
namespace {

constexpr std::array<const char*, 6> refusals{"magic", "version", "size", "checksum", "index", "generation"};
static_assert(refusals.size() == static_cast<std::size_t>(shm::RefusalReason::count));

}  // namespace

void controlplane_metrics(const Documents& documents, Families& all) {
    const Progress progress = documents.core.progress();
    Series::gauge(all, "shunt_build_info", "Always 1; the version is a label.").add(1.0, {{"version", SHUNT_VERSION}});
    Series::gauge(all, "shunt_controlplane_uptime_seconds", "Since the control plane started.")
        .add(static_cast<double>((documents.now.instant - documents.facts.started).in_milliseconds()) / 1000);
    Series::gauge(all, "shunt_config_revision", "Grows by one with every change of what is wanted.")
        .add(documents.core.wanted().revision);
    Series::gauge(all, "shunt_config_overrides", "Overrides in force.").add(documents.core.wanted().overrides.size());
    Series::gauge(all, "shunt_generation", "The generation of tables published last.").add(progress.published.value);
    Series::gauge(all, "shunt_generation_accepted", "The one that the data plane uses; 0 while none runs.")
        .add(progress.accepted.value);
    auto refused = Series::counter(all, "shunt_generation_refusals_total", "Publications that the data plane refused.");
    for (std::size_t i = 0; i < refusals.size(); ++i) refused.add(progress.refusals[i], {{"reason", refusals[i]}});
}

}  // namespace shunt::controlplane
