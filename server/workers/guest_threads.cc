#include "server/workers/guest_threads.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/base/mutex.h"

namespace jobpool {

class GuestThreads::Guest final : public ThreadEntry {
 public:
  explicit Guest(ThreadRegistry& registry) : ThreadEntry(registry, ThreadRole::kWorker, "") { Enter(); }
  ~Guest() override { Leave(); }
};

struct GuestThreads::List {
  Mutex mu;  // held while a guest leaves, so that the registry is still there
  absl::flat_hash_map<const Guest*, std::unique_ptr<Guest>> guests ABSL_GUARDED_BY(mu);
};

// A thread's places in the lists: of one that there is, mostly.
class GuestThreads::Here {
 public:
  ~Here() {
    for (const Place& place : places_) {
      if (const std::shared_ptr<List> list = place.list.lock(); list != nullptr) {
        MutexLock lock(list->mu);
        list->guests.erase(place.guest);
      }
    }
  }

  Guest& In(const std::shared_ptr<List>& list, ThreadRegistry& registry) {
    for (const Place& place : places_) {
      // Who holds its list is there, and another cannot have its address.
      if (place.key == list.get() && !place.list.expired()) return *place.guest;
    }
    places_.erase(std::remove_if(places_.begin(), places_.end(),
                                 [](const Place& place) { return place.list.expired(); }),
                  places_.end());
    auto guest = std::make_unique<Guest>(registry);
    places_.push_back({list.get(), list, guest.get()});
    MutexLock lock(list->mu);
    return *list->guests.emplace(guest.get(), std::move(guest)).first->second;
  }

 private:
  struct Place {
    const List* key;
    std::weak_ptr<List> list;
    Guest* guest;
  };
  std::vector<Place> places_;
};

GuestThreads::GuestThreads(ThreadRegistry& registry) : registry_(registry), list_(std::make_shared<List>()) {}

GuestThreads::~GuestThreads() {
  MutexLock lock(list_->mu);
  list_->guests.clear();
}

RegistryEntry& GuestThreads::Current() {
  thread_local Here here;
  return here.In(list_, registry_);
}

}  // namespace jobpool
