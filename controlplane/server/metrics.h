// What /metrics shows, in Prometheus' text format: docs/metrics.md. Each group is a function in a file of its own; the
// list of them is in metrics.cpp. Labels are names of the configuration and words of closed lists, never what a client
// could choose.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "controlplane/server/documents.h"

namespace shunt::controlplane {

using Families = std::vector<prometheus::MetricFamily>;
using Labels = std::vector<prometheus::ClientMetric::Label>;

// A family while it is being filled.
class Series {
  public:
    static Series counter(Families& all, std::string name, std::string help) {
        return {all, std::move(name), std::move(help), prometheus::MetricType::Counter};
    }
    static Series gauge(Families& all, std::string name, std::string help) {
        return {all, std::move(name), std::move(help), prometheus::MetricType::Gauge};
    }
    void add(double value, Labels labels = {});
    void add(std::uint64_t value, Labels labels = {}) { add(static_cast<double>(value), std::move(labels)); }
    void add(bool value, Labels labels = {}) { add(value ? 1.0 : 0.0, std::move(labels)); }

  private:
    Series(Families& all, std::string name, std::string help, prometheus::MetricType type)
        : all_(all), place_(all.size()) {
        all.push_back({std::move(name), std::move(help), type, {}});
    }

    Families& all_;
    std::size_t place_;
};

void service_metrics(const Documents& documents, Families& all);
void dataplane_metrics(const Documents& documents, Families& all);
void controlplane_metrics(const Documents& documents, Families& all);
void ha_metrics(const Documents& documents, Families& all);
void announce_metrics(const Documents& documents, Families& all);
void sync_metrics(const Documents& documents, Families& all);

class Metrics : public prometheus::Collectable {
  public:
    explicit Metrics(const Documents& documents) : documents_(documents) {}
    Families Collect() const override;
    std::string text() const;

  private:
    const Documents& documents_;
};

}  // namespace shunt::controlplane
