module github.com/seed26cb4e35/websocket

go 1.25
