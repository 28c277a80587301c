#ifndef PENSTOCK_CLIENT_CLI_PAGES_H_
#define PENSTOCK_CLIENT_CLI_PAGES_H_

#include <algorithm>
#include <string>

#include "absl/status/statusor.h"
#include "client/cli/arguments.h"
#include "common/status.h"

namespace penstock::cli {

inline constexpr int kPageMax = 1'000;

// Asks for page after page until there is no more or the limit is reached, and returns the token of what follows.
// `fetch` (size, token) gets a page; `take` (page) uses it and says how many items it had. No page is cut, so the token
// fits what was taken.
template <class Page, class Fetch, class Take>
absl::StatusOr<std::string> WalkPages(const PageOptions& options, Fetch fetch, Take take) {
  std::string token = options.page_token;
  int taken = 0;
  while (options.limit == 0 || taken < options.limit) {
    const int size = options.limit == 0 ? kPageMax : std::min(kPageMax, options.limit - taken);
    ASSIGN_OR_RETURN(const Page page, fetch(size, token));
    taken += take(page);
    token = page.next_page_token();
    if (token.empty()) break;
  }
  return token;
}

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_PAGES_H_
