#include "controlplane/cli/verb.h"

namespace shunt::cli {

const std::vector<Verb>& all_verbs() {
    static const std::vector<Verb> verbs = [] {
        std::vector<Verb> all;
        for (const auto& family :
             {status_verbs(), service_verbs(), backend_verbs(), worker_verbs(), config_verbs(), table_verbs(),
              flow_verbs(), ha_verbs(), drain_verbs(), explain_verbs(), replay_verbs()}) {
            all.insert(all.end(), family.begin(), family.end());
        }
        return all;
    }();
    return verbs;
}

}  // namespace shunt::cli
