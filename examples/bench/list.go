//go:build linux

package main

// contenders in the order of the tables.
var contenders = []*contender{
	byMessage, rawTCP, netHTTP,
	thisEvents, thisHandle, thisAccept,
	gorilla, coder, gobwas, gobwasBuffered, gobwasHTTP, gwsContender, gwsOwnServer, nbioContender, nbioBlocking,
}
