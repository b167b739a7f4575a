// A Go program: net.LookupHost, and net.LookupAddr for a word that is an address.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
)

// Go has one error for a name and for a type that does not exist; through libc Go 1.19 leaves libc's
// text of the latter.
func canonical(err error) string {
	var failed *net.DNSError
	switch {
	case errors.As(err, &failed) && failed.IsNotFound:
		return "NOTHING"
	case strings.HasSuffix(err.Error(), "No address associated with hostname"):
		return "NODATA"
	default:
		return err.Error()
	}
}

func main() {
	fmt.Println(runtime.Version())
	for _, word := range os.Args[1:] {
		lookup := net.LookupHost
		if net.ParseIP(word) != nil {
			lookup = net.LookupAddr
		}
		found, err := lookup(word)
		if err != nil {
			fmt.Println(canonical(err))
			continue
		}
		fmt.Println(strings.TrimSuffix(strings.Join(found, " "), "."))
	}
}
