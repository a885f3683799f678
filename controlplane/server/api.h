// The API of docs/api.md: which request means what. No sockets here; HttpServer calls `handle`.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>

#include "controlplane/server/documents.h"
#include "controlplane/server/flow_scans.h"
#include "controlplane/server/http.h"
#include "controlplane/state/core.h"

namespace shunt::controlplane {

class Api {
  public:
    // `documents` gives what can be read now; `own_uid` and root may write; `later` as FlowScans wants it.
    Api(Core& core, Events& events, Ha& ha, std::function<Documents()> documents, uid_t own_uid, FlowScans::Later later)
        : core_(core),
          events_(events),
          ha_(ha),
          documents_(std::move(documents)),
          own_uid_(own_uid),
          scans_(documents_, std::move(later)) {}

    void handle(const HttpRequest& request, const HttpReply& reply);
    static HttpResponse error_page(unsigned status, const std::string& sentence);

  private:
    Core& core_;
    Events& events_;
    Ha& ha_;
    std::function<Documents()> documents_;
    uid_t own_uid_;
    FlowScans scans_;
};

}  // namespace shunt::controlplane
