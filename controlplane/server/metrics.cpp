#include "controlplane/server/metrics.h"

#include <prometheus/text_serializer.h>

#include <sstream>

namespace shunt::controlplane {

void Series::add(double value, Labels labels) {
    prometheus::MetricFamily& family = all_[place_];
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    if (family.type == prometheus::MetricType::Counter) {
        metric.counter.value = value;
    } else {
        metric.gauge.value = value;
    }
}

Families Metrics::Collect() const {
    Families all;
    for (const auto group :
         {controlplane_metrics, dataplane_metrics, service_metrics, ha_metrics, announce_metrics, sync_metrics}) {
        group(documents_, all);
    }
    std::erase_if(all, [](const auto& family) { return family.metric.empty(); });
    return all;
}

std::string Metrics::text() const {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, Collect());
    return text.str();
}

}  // namespace shunt::controlplane
