// What the TCP listener answers ([http] listen), to anybody: /healthz, /readyz and /metrics. Nothing can be changed
// there.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controlplane/server/documents.h"
#include "controlplane/server/http.h"

namespace shunt::controlplane {

class Monitor {
  public:
    // Whoever asks for metrics again within this time gets the same ones: what strangers can make this process do is
    // bounded.
    static constexpr Duration metrics_age = Duration::milliseconds(500);
    static constexpr HttpLimits limits{.max_connections = 64,
                                       .header_bytes = 8 * 1024,
                                       .body_bytes = 1024,
                                       .request_time = Duration::seconds(5),
                                       .idle_time = Duration::seconds(30)};

    explicit Monitor(std::function<Documents()> documents) : documents_(std::move(documents)) {}

    void handle(const HttpRequest& request, const HttpReply& reply);
    static HttpResponse error_page(unsigned status, const std::string& sentence);

  private:
    HttpResponse answer(const HttpRequest& request);
    HttpResponse readiness() const;
    const std::string& metrics();

    std::function<Documents()> documents_;
    std::string metrics_{};
    std::optional<Instant> metrics_made_{};
};

}  // namespace shunt::controlplane
